package link

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestTheCutEndOfAForwardedPacketIsLeftToAnother(t *testing.T) {
	from, to := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:1000")
	whole := append(tcpPacket(from, to, header.TCPFlagAck|header.TCPFlagFin, 1, 1000), make([]byte, 1000)...)
	header.IPv4(whole).SetTotalLength(uint16(len(whole)))
	cut := whole[:500:500]
	var p parsed
	if !parseHead(cut, &p) {
		t.Fatal("its head is there")
	}
	shorten(cut, &p)
	var shorter parsed
	if !parsePacket(cut, &shorter) || header.TCP(shorter.segment).Flags() != header.TCPFlagAck {
		t.Fatalf("%x", cut[:40])
	}
	if header.IPv4(cut).CalculateChecksum() != 0xffff {
		t.Error("the checksum of the IP header")
	}
	if !parsePacket(whole[:500], &p) {
		t.Error("a whole packet is left as it is")
	}
}

func TestAClosedLinkTakesNoGuests(t *testing.T) {
	own, other := testEdge(t, true), testEdge(t, true)
	key := FlowKey{Protocol: 6, Version: 4}
	own.Observer.Watch(key, nil, nil)
	first := &Path{NextHop: router, MAC: firstMAC}
	if !own.Observer.SetPath(key, first) || !own.Observer.SetPath(key, &Path{Link: other, NextHop: router, MAC: secondMAC}) {
		t.Fatal("both links are open")
	}
	if other.guests.owner(&key) != own {
		t.Fatal("the other link does not know it")
	}
	other.Close()
	if n, ok := own.Observer.nextFor(&key); !ok || n.out != nil || n.hop.MAC() != macOf(firstMAC) {
		t.Fatalf("%+v", n)
	}
	if own.Observer.SetPath(key, &Path{Link: other, NextHop: router}) {
		t.Fatal("it is closed")
	}
}
