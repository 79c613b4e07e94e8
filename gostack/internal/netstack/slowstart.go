package netstack

import (
	"math"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Why: gVisor's slow start ends for good at the first round trip that was longer, on a path that may
// carry a hundred times as much.
//
// A new gVisor breaks this if TCPSenderState.SndNxt or SndUna, by which rounds are told apart, change their
// meaning, or if Update is not called for each acknowledgment (tcp/snd.go).

// slowStart is slow start with an end before the first loss: HyStart++ (RFC 9406).
//
// gVisor's has the kernel's older form, which believes the first round trip that was longer. A
// peer, or a program on the way, that was not on its processor for some milliseconds ended
// it at fifty packets, on a path that carried thousands. Here such a round makes the window
// grow more slowly, and the next ones are asked whether it was true.
//
// Where round trips are too short for a queue to be told by them, in a local network, the
// kernel's other sign still counts: acknowledgments that come without a pause for half of one.
type slowStart struct {
	end     seqnum.Value // of the round: what was sent next when it began
	begun   bool
	samples int
	least   time.Duration // of the round's round trips
	last    time.Duration // of those of the round before
	since   tcpip.MonotonicTime
	train   tcpip.MonotonicTime // the last acknowledgment without a pause before it

	doubted  int           // how many rounds it has been slower, 0 for not at all
	baseline time.Duration // what doubt began with
	part     int           // acknowledged meanwhile, less than what makes a packet
}

// RFC 9406, 4.3. Its bound on what an acknowledgment of many packets may bring is left out, as
// the kernel does.
const (
	leastLonger   = 4 * time.Millisecond
	mostLonger    = 16 * time.Millisecond
	longerDivisor = 8
	enoughSamples = 8
	doubtDivisor  = 4
	doubtRounds   = 5
	noTrip        = time.Duration(math.MaxInt64)

	trainPause  = 2 * time.Millisecond // net/ipv4/tcp_cubic.c, hystart_ack_delta_us
	trainWindow = 16                   // hystart_low_window
)

// grow is for an acknowledgment that came at that time; rtt is below 0 where it says nothing of the round trip.
func (h *slowStart) grow(s *tcp.TCPSenderState, acked int, rtt time.Duration, at tcpip.MonotonicTime) {
	if s.Ssthresh == tcp.InitialSsthresh {
		if h.ends(s, rtt, at) {
			s.Ssthresh = s.SndCwnd
			return
		}
		if h.doubted > 0 {
			h.part += acked
			acked, h.part = h.part/doubtDivisor, h.part%doubtDivisor
		}
	}
	s.SndCwnd = min(s.SndCwnd+acked, s.Ssthresh)
}

// ends counts rounds, and is whether there shall be no more of them.
func (h *slowStart) ends(s *tcp.TCPSenderState, rtt time.Duration, at tcpip.MonotonicTime) bool {
	if !h.begun || h.end.LessThan(s.SndUna) {
		h.nextRound(s.SndNxt, at)
	}
	if rtt >= 0 {
		h.least = min(h.least, rtt)
		h.samples++
	}
	if h.last < leastLonger {
		return s.SndCwnd >= trainWindow && h.isLongTrain(at)
	}
	h.compare()
	return h.doubted > doubtRounds
}

// compare has a round that is longer than the one before begin doubt, and a shorter one end it.
func (h *slowStart) compare() {
	switch {
	case h.samples < enoughSamples:
	case h.doubted > 0:
		if h.least < h.baseline {
			h.doubted = 0
		}
	case h.last != noTrip && h.least >= h.last+max(leastLonger, min(mostLonger, h.last/longerDivisor)):
		h.doubted, h.baseline = 1, h.least
	}
}

func (h *slowStart) isLongTrain(at tcpip.MonotonicTime) bool {
	if at.Sub(h.train) >= trainPause {
		return false
	}
	h.train = at
	return at.Sub(h.since) > h.last/2
}

func (h *slowStart) nextRound(end seqnum.Value, at tcpip.MonotonicTime) {
	if !h.begun {
		h.begun, h.least = true, noTrip
	}
	h.end, h.samples, h.since, h.train = end, 0, at, at
	h.last, h.least = h.least, noTrip
	if h.doubted > 0 {
		h.doubted++
	}
}
