package link

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
)

func TestArrivalsAreLearnedOnceAndForgottenInOrder(t *testing.T) {
	learned, forgotten := map[netip.Addr]string{}, []netip.Addr{}
	calls := 0
	a := &arrivals{
		macs:   map[netip.Addr]tcpip.LinkAddress{},
		learn:  func(sender netip.Addr, mac []byte) { calls++; learned[sender] = string(mac) },
		forget: func(sender netip.Addr) { forgotten = append(forgotten, sender) },
	}
	first, moved := []byte{2, 0, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}
	a.saw([]byte{10, 0, 0, 1}, first)
	a.saw([]byte{10, 0, 0, 1}, first)
	a.saw([]byte{10, 0, 0, 1}, moved)
	a.saw([]byte{10, 0, 0, 1}, []byte{3, 0, 0, 0, 0, 1}) // nobody's: a group
	a.saw([]byte{10, 0, 0, 1}, nil)
	if want := netip.MustParseAddr("10.0.0.1"); calls != 2 || learned[want] != string(moved) {
		t.Fatalf("%d calls, %x", calls, learned)
	}
	for i := range arrivalsLimit {
		a.saw([]byte{10, 1, byte(i >> 8), byte(i)}, first)
	}
	if len(a.macs) != arrivalsLimit || len(forgotten) != 1 || forgotten[0] != netip.MustParseAddr("10.0.0.1") {
		t.Fatalf("%d remembered, forgotten %v", len(a.macs), forgotten)
	}
	a.saw([]byte{10, 0, 0, 1}, first)
	if learned[netip.MustParseAddr("10.0.0.1")] != string(first) || len(forgotten) != 2 {
		t.Fatal("one that was forgotten is learned anew")
	}
}
