package link

import "gvisor.dev/gvisor/pkg/tcpip/header"

// sequence is the part of TCP's send state (RFC 9293, 3.3.1) that the frames of a connection show.
// It is kept here and not read from gVisor: ICMP errors are judged before gVisor gets them, and
// gVisor's own copy is behind a lock that a writing thread holds.
type sequence struct {
	initial uint32 // ISS
	acked   uint32 // SND.UNA
	next    uint32 // SND.NXT
	started bool   // the local SYN was sent; the numbers mean nothing before
}

// start begins with a SYN's number. It returns false for a retransmission.
func (s *sequence) start(number uint32) bool {
	if s.started && s.initial == number {
		return false
	}
	*s = sequence{initial: number, acked: number, next: number + 1, started: true}
	return true
}

// advance raises SND.NXT to the end of a segment that is sent. A retransmission does not lower it.
func (s *sequence) advance(end uint32) {
	if ahead := end - s.next; ahead < 1<<31 {
		s.next = end
	}
}

// acknowledge raises SND.UNA and returns by how much. An acknowledgment of a number that was not
// sent is ignored (RFC 9293, 3.10.7.4), so a forged one moves nothing.
func (s *sequence) acknowledge(number uint32) uint32 {
	ahead := number - s.acked
	if !s.started || ahead > s.next-s.acked {
		return 0
	}
	s.acked = number
	return ahead
}

// inFlight is SND.UNA <= number < SND.NXT (RFC 5927, 4.1).
func (s *sequence) inFlight(number uint32) bool {
	return s.started && number-s.acked < s.next-s.acked
}

// segmentEnd is the sequence number after a segment with so much payload.
func segmentEnd(tcp header.TCP, payload int) uint32 {
	end := tcp.SequenceNumber() + uint32(payload)
	if tcp.Flags()&header.TCPFlagSyn != 0 {
		end++
	}
	if tcp.Flags()&header.TCPFlagFin != 0 {
		end++
	}
	return end
}
