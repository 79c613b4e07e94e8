package link

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
)

func TestArrivalsFollowASenderAndForgetTheOldest(t *testing.T) {
	a := &arrivals{macs: map[netip.Addr]MAC{}}
	first, moved := []byte{2, 0, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}
	sender := netip.MustParseAddr("10.0.0.1")
	a.saw([]byte{10, 0, 0, 1}, first)
	a.saw([]byte{10, 0, 0, 1}, moved)
	a.saw([]byte{10, 0, 0, 1}, []byte{3, 0, 0, 0, 0, 1}) // a group address is no sender's
	a.saw([]byte{10, 0, 0, 1}, nil)
	if got := a.macOf(sender); got != macOf(tcpip.LinkAddress(moved)) {
		t.Fatalf("%x", got.Bytes())
	}
	for i := range arrivalsLimit {
		a.saw([]byte{10, 1, byte(i >> 8), byte(i)}, first)
	}
	if len(a.macs) != arrivalsLimit || a.macOf(sender).Known() {
		t.Fatalf("%d remembered", len(a.macs))
	}
	a.saw([]byte{10, 0, 0, 1}, first)
	if !a.macOf(sender).Known() {
		t.Fatal("the next packet brings it back")
	}
}
