package netstack

import (
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// begin is a sender with ten packets under way and no threshold yet.
func begin() (*tcp.TCPSenderState, *slowStart) {
	return &tcp.TCPSenderState{SndCwnd: 10, Ssthresh: tcp.InitialSsthresh, SndNxt: 10}, &slowStart{}
}

// round acknowledges all that is under way, a number a packet, after a round trip so long.
func round(s *tcp.TCPSenderState, h *slowStart, trip time.Duration) {
	spaced(s, h, trip, 0)
}

// spaced is a round of acknowledgments so far apart.
func spaced(s *tcp.TCPSenderState, h *slowStart, trip, apart time.Duration) {
	var at tcpip.MonotonicTime
	for s.SndUna < s.SndNxt-1 && s.SndCwnd < s.Ssthresh {
		s.SndUna++
		at = at.Add(apart)
		h.grow(s, 1, trip, at)
	}
	s.SndUna = s.SndNxt
	h.grow(s, 1, trip, at)
	s.SndNxt += seqnum.Value(s.SndCwnd)
}

func TestSlowStartDoubles(t *testing.T) {
	s, h := begin()
	for range 5 {
		round(s, h, 20*time.Millisecond)
	}
	if s.SndCwnd != 320 || s.Ssthresh != tcp.InitialSsthresh {
		t.Fatalf("after five rounds a window of %d, a threshold of %d", s.SndCwnd, s.Ssthresh)
	}
}

// A queue that grows makes each round longer: slow start ends, before a loss.
func TestSlowStartEndsWhereRoundTripsStayLonger(t *testing.T) {
	s, h := begin()
	for i := range 12 {
		round(s, h, 20*time.Millisecond+time.Duration(max(0, i-2))*5*time.Millisecond)
	}
	if s.Ssthresh == tcp.InitialSsthresh || s.SndCwnd != s.Ssthresh || s.SndCwnd > 300 {
		t.Fatalf("a window of %d, a threshold of %d", s.SndCwnd, s.Ssthresh)
	}
}

// One round that somebody's processor held up is no queue.
func TestSlowStartGoesOnAfterOneLongRound(t *testing.T) {
	s, h := begin()
	round(s, h, 20*time.Millisecond)
	round(s, h, 20*time.Millisecond)
	round(s, h, 40*time.Millisecond)
	held := s.SndCwnd
	if held >= 80 {
		t.Fatalf("the long round grew the window to %d", held)
	}
	for range 5 {
		round(s, h, 20*time.Millisecond)
	}
	if s.Ssthresh != tcp.InitialSsthresh || s.SndCwnd < 16*held {
		t.Fatalf("from %d to a window of %d, a threshold of %d", held, s.SndCwnd, s.Ssthresh)
	}
}

// A queue of a local network is told by acknowledgments that never pause.
func TestSlowStartEndsWhereAcknowledgmentsNeverPause(t *testing.T) {
	for _, c := range []struct {
		trip, apart time.Duration
		ends        bool
	}{
		{time.Millisecond, 20 * time.Microsecond, true},
		{time.Millisecond, 0, false},
		{time.Millisecond, 2 * time.Millisecond, false},
		{20 * time.Millisecond, 200 * time.Microsecond, false},
	} {
		s, h := begin()
		for range 5 {
			spaced(s, h, c.trip, c.apart)
		}
		if ended := s.Ssthresh != tcp.InitialSsthresh; ended != c.ends || s.SndCwnd < trainWindow {
			t.Errorf("%s, %s apart: ended is %t, with a window of %d", c.trip, c.apart, ended, s.SndCwnd)
		}
	}
}

func TestSlowStartStopsAtTheThreshold(t *testing.T) {
	s, h := begin()
	s.Ssthresh = 15
	h.grow(s, 10, -1, tcpip.MonotonicTime{})
	if s.SndCwnd != 15 {
		t.Fatalf("a window of %d", s.SndCwnd)
	}
}
