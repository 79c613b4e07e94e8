package link

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A path MTU that was lowered is searched upwards, as RFC 8899 and RFC 4821 have it. A probe is a
// second copy of the first bytes of a packet that was just sent, as one segment of the size in
// question. When it arrives, the peer reports a duplicate (DSACK, RFC 2883). When it is lost,
// nothing is missing: there is no retransmission, and the congestion window stays.
//
// The first probe has the full size, since most paths become as wide again as they were. Then the
// search is binary, as the kernel's (net/ipv4/tcp_output.c, tcp_mtu_probe).
//
// A peer without DSACK answers no probe, also not the last, whose size is the one in use. When a
// router had lowered the path MTU and no router refuses the probes, the full size is used again
// then, as the kernel does when the path MTU expires: a router that still refuses it says so again.

const (
	probeAttempts = 3 // MAX_PROBES of RFC 8899
	searchEnds    = 8 // net.ipv4.tcp_probe_threshold: bytes between what arrived and what did not
)

// search is the search for a larger path MTU.
type search struct {
	begins   time.Time
	size     uint32 // of the next probe; 0 is before the first
	high     uint32 // the largest size that may still be possible
	attempts int    // probes of this size that were lost
	answered bool   // some probe of this search arrived
	blocked  bool   // a router refused a probe of this search

	waiting    bool
	start, end uint32 // the sequence numbers that the probe repeats
	after      uint32 // an acknowledgment beyond comes after the probe's own
}

// probe makes the probe that follows a packet with new data, when one is due.
func (r *record) probe(pkt *stack.PacketBuffer, segment header.TCP, now func() time.Time) *stack.PacketBuffer {
	p := &r.pmtu
	s := &p.search
	if p.found == 0 || s.waiting || !pkt.GSOOptions.NeedsCsum || now().Before(s.begins) {
		return nil
	}
	headers := uint32(len(pkt.NetworkHeader().Slice()) + header.TCPMinimumSize)
	ceiling := min(p.ceiling, headers+uint32(r.PeerMSS))
	if ceiling <= p.found {
		return nil
	}
	if s.size == 0 {
		s.size, s.high = ceiling, ceiling
	}
	payload := int(min(s.size, ceiling)) - len(pkt.NetworkHeader().Slice()) - len(segment)
	if payload > pkt.Data().Size() {
		return nil
	}
	s.waiting = true
	s.start = segment.SequenceNumber()
	s.end, s.after = s.start+uint32(payload), r.next
	return firstBytes(pkt, payload)
}

// abandon gives up a probe when what it repeats is retransmitted: a duplicate of that proves nothing.
func (s *search) abandon(number uint32) {
	if s.waiting && number-s.end >= 1<<31 {
		s.waiting = false
	}
}

// answer looks for the answer to a probe in a segment from the peer.
func (p *pathMTU) answer(tcp header.TCP, now func() time.Time, expires time.Duration) {
	s := &p.search
	if !s.waiting || tcp.Flags()&header.TCPFlagAck == 0 {
		return
	}
	switch {
	case s.arrived(tcp):
		s.waiting, s.answered, s.attempts = false, true, 0
		p.found = s.size
		p.narrow(now(), expires)
	case tcp.AckNumber()-s.after-1 < 1<<31:
		s.waiting = false
		if s.attempts++; s.attempts == probeAttempts {
			s.high, s.attempts = s.size-1, 0
			p.narrow(now(), expires)
		}
	}
}

// arrived is whether a segment's DSACK covers the whole of the probe. The peer had all of it before,
// in smaller segments, so each of those alone reports less.
func (s *search) arrived(tcp header.TCP) bool {
	offset := int(tcp.DataOffset())
	if offset <= header.TCPMinimumSize || offset > len(tcp) {
		return false
	}
	blocks := header.ParseTCPOptions(tcp.Options()).SACKBlocks
	if len(blocks) == 0 {
		return false
	}
	start, end := uint32(blocks[0].Start), uint32(blocks[0].End)
	return s.start-start < 1<<31 && end-s.end < 1<<31 && tcp.AckNumber()-end < 1<<31
}

// refused is for a router that says that packets of more than mtu are too big, while those that are
// sent are not: it means the probe (PL_PTB_SIZE of RFC 8899).
func (p *pathMTU) refused(mtu uint32, now time.Time, expires time.Duration) {
	s := &p.search
	if !s.waiting || mtu >= s.size {
		return
	}
	s.waiting, s.blocked, s.attempts = false, true, 0
	s.high = mtu
	if mtu > p.found {
		s.size = mtu
		return
	}
	p.narrow(now, expires)
}

// narrow chooses the size of the next probe, or ends the search.
func (p *pathMTU) narrow(now time.Time, expires time.Duration) {
	s := &p.search
	switch {
	case p.found >= p.ceiling:
		*p = pathMTU{ceiling: p.ceiling}
	case s.high >= p.found+searchEnds:
		s.size = (p.found + s.high + 1) / 2
	case !p.hole && !s.answered && !s.blocked && s.size != p.found:
		s.size = p.found // which the path carries: does the peer answer probes at all?
	case !p.hole && !s.answered && !s.blocked:
		*p = pathMTU{ceiling: p.ceiling}
	default:
		p.search = search{begins: now.Add(expires)}
	}
}
