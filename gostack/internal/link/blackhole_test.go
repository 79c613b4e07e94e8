package link

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// stalledPath has sent one segment of the full size, and 4 KiB after it.
func stalledPath(version int) *path {
	p := newPath(version)
	p.send(p.una, 1460)
	p.send(p.una+1460, 4096)
	return p
}

func TestSmallerCopiesFollowTheOldestSegment(t *testing.T) {
	for version, sizes := range map[int][]int{
		4: {0, 0, 1280, 576, 1280, 576},
		6: {0, 0, 1280, 1280, 1280, 1280},
	} {
		p := stalledPath(version)
		for i, wanted := range sizes {
			if size := p.send(p.una, 1440); size != wanted {
				t.Errorf("IPv%d, retransmission %d: a copy of %d bytes, not %d", version, i+1, size, wanted)
			}
			if size := p.send(p.una+1460, 1440); size != 0 {
				t.Errorf("IPv%d: a copy of %d bytes of a later segment", version, size)
			}
		}
	}
}

func TestALinkThatIsDownIsNoBlackHole(t *testing.T) {
	for _, version := range []int{4, 6} {
		p := stalledPath(version)
		for range 12 {
			p.send(p.una, 1440)
		}
		if p.largest() != 1500 {
			t.Errorf("IPv%d: lowered to %d without evidence", version, p.largest())
		}
		p.acknowledge(p.una + 1440) // the link is up again, and the whole segment arrived
		if p.largest() != 1500 || len(p.resent) != 0 {
			t.Errorf("IPv%d: %d after the link came back", version, p.largest())
		}
	}
}

func TestASmallPacketThatArrivesAloneShowsABlackHole(t *testing.T) {
	for _, c := range []struct{ version, retransmissions, wanted int }{
		{4, 3, 1280}, {4, 4, 576}, {6, 3, 1280},
	} {
		p := stalledPath(c.version)
		for range c.retransmissions {
			p.send(p.una, 1440)
		}
		p.acknowledge(p.una + uint32(c.wanted-p.headers()))
		if p.largest() != c.wanted {
			t.Errorf("IPv%d: %d, not %d", c.version, p.largest(), c.wanted)
		}
		if mtu := p.resentAt(t); mtu != uint32(c.wanted) {
			t.Errorf("IPv%d: %d was passed to gVisor", c.version, mtu)
		}
	}
}

func TestABlackHoleIsSearchedUpwardsAtOnce(t *testing.T) {
	p := stalledPath(4)
	for range 4 {
		p.send(p.una, 1440)
	}
	p.acknowledge(p.una + 536)
	p.resentAt(t)
	if size := p.sendNew(30_000); size != 1500 {
		t.Fatalf("the first probe has %d bytes", size)
	}
	p.duplicate()
	if p.largest() != 1500 {
		t.Fatalf("a probe arrived, and packets have %d bytes", p.largest())
	}
}

func TestASegmentThatIsSmallAlreadyHasNoSmallerCopy(t *testing.T) {
	p := newPath(6)
	p.send(p.una, 1000)
	for range 8 {
		if size := p.send(p.una, 1000); size != 0 {
			t.Fatal(size)
		}
	}
}

func TestACopyIsTheFirstBytesOfItsPacket(t *testing.T) {
	for _, version := range []int{4, 6} {
		for _, offload := range []bool{true, false} {
			pkt := packetOf(version, header.TCPProtocolNumber, tcpHeader(7, 8, header.TCPFlagAck), 3000)
			if offload {
				withGSO(pkt, version)
			}
			part := firstBytes(pkt, 1200)
			frame := part.ToView().AsSlice()
			var p parsed
			if !parsePacket(frame, &p) || len(p.segment) != header.TCPMinimumSize+1200 || len(frame) != p.transport+1220 {
				t.Fatalf("IPv%d: %x", version, frame[:60])
			}
			if version == 4 && header.IPv4(frame).CalculateChecksum() != 0xffff {
				t.Error("the checksum of the IP header")
			}
			v := make([]byte, VnetLen)
			vnetHeader(v, part)
			if v[1] != 0 || (v[0] == vnetNeedsChecksum) != offload {
				t.Errorf("IPv%d: %x", version, v)
			}
			tcp := header.TCP(p.segment)
			if offload {
				// The kernel sums from the TCP header on, over what is in the checksum's place.
				tcp.SetChecksum(^checksum.Checksum(p.segment, 0))
			}
			if !verified(&p) || tcp.SequenceNumber() != 7 || tcp.AckNumber() != 8 {
				t.Errorf("IPv%d, offload %v: %x", version, offload, p.segment[:20])
			}
			part.DecRef()
			pkt.DecRef()
		}
	}
}
