package link

import (
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A router that drops what is too large for its next link and sends no ICMP error is a path MTU
// black hole (RFC 2923, 2.1). A link that is down and a peer that is gone look alike: no segment is
// answered. The kernel does not distinguish them (net/ipv4/tcp_timer.c, tcp_mtu_probing lowers the
// MSS at the third timeout). Here the oldest segment is sent as before, and from its third
// retransmission on (tcp_retries1 is 3) a smaller copy of its first bytes follows. Only when the peer
// acknowledges exactly those bytes is the path MTU lowered: the small packet arrived, and the large
// one before it did not. The price is one small packet for each further timeout.

const (
	stallLimit = 3
	// smallIPv4 is what any IPv4 host takes (RFC 791).
	smallIPv4 = 576
)

// stall counts how often the oldest unacknowledged segment was retransmitted.
type stall struct {
	number uint32
	times  int
	end    uint32 // of the last smaller copy
	size   uint32 // of its packet; 0 is none
}

// smaller is the packet size of the copy that follows a retransmission of the oldest segment, or 0. size is that of the
// largest of its packets.
func (r *record) smaller(number uint32, version uint8, size uint32) uint32 {
	if !r.started || number != r.acked {
		return 0
	}
	if r.stall.number != number || r.stall.times == 0 {
		r.stall = stall{number: number}
	}
	r.stall.times++
	extra := r.stall.times - stallLimit
	switch {
	case extra < 0:
		return 0
	case size > minPathMTUv6 && (version == 6 || extra%2 == 0):
		return minPathMTUv6
	case size > smallIPv4 && version == 4:
		return smallIPv4
	}
	return 0
}

// smallerCopy makes that copy.
func (r *record) smallerCopy(pkt *stack.PacketBuffer, segment header.TCP, version uint8) *stack.PacketBuffer {
	size := r.smaller(segment.SequenceNumber(), version, uint32(packetSize(pkt)))
	if size == 0 {
		return nil
	}
	payload := int(size) - len(pkt.NetworkHeader().Slice()) - len(segment)
	r.stall.end, r.stall.size = segment.SequenceNumber()+uint32(payload), size
	return firstBytes(pkt, payload)
}

// progress is for an acknowledgment of something new. It returns the size of the smaller copy when
// it acknowledges that one and nothing more, else 0.
func (s *stall) progress(number uint32) (size uint32) {
	if s.size != 0 && number == s.end {
		size = s.size
	}
	*s = stall{}
	return size
}

// packetSize is the size of the IP packets that a segment becomes on the wire.
func packetSize(pkt *stack.PacketBuffer) int {
	payload := pkt.Data().Size()
	if pkt.GSOOptions.Type != stack.GSONone {
		payload = min(payload, int(pkt.GSOOptions.MSS))
	}
	return len(pkt.NetworkHeader().Slice()) + len(pkt.TransportHeader().Slice()) + payload
}
