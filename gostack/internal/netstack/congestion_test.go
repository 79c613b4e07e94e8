package netstack

import (
	"math"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// path is a sender whose window is all under way, and acknowledged once in a round trip.
type path struct {
	sender tcp.TCPSenderState
	cubic  *cubic
	now    tcpip.MonotonicTime
	trip   time.Duration
}

func newPath(window int, trip time.Duration) *path {
	p := &path{trip: trip}
	p.sender.SndCwnd, p.sender.Ssthresh = window, window
	p.sender.RTTState.SRTT = trip
	p.cubic = &cubic{sender: &p.sender}
	return p
}

// trips lets so many round trips go by, with an acknowledgment for each two packets.
func (p *path) trips(n int) {
	for range n {
		p.now = p.now.Add(p.trip)
		for left := p.sender.SndCwnd; left > 0; left -= 2 {
			p.sender.Outstanding = p.sender.SndCwnd - min(left, 2)
			p.cubic.Update(min(left, 2), p.trip, p.now)
		}
	}
}

// lose is a loss and its recovery, which leaves the window at the threshold (tcp/snd.go).
func (p *path) lose() {
	p.cubic.HandleLossDetected()
	p.now = p.now.Add(p.trip)
	p.sender.SndCwnd = p.sender.Ssthresh
	p.cubic.PostRecovery()
}

func (p *path) wants(t *testing.T, when string, least, most int) {
	t.Helper()
	if w := p.sender.SndCwnd; w < least || w > most {
		t.Fatalf("%s: a window of %d, not %d to %d", when, w, least, most)
	}
}

// On a short path all growth is Reno's: 0.53 packets a round trip up to the window that
// the loss met, one from there on (RFC 9438, 4.3), though an acknowledgment is for a
// tenth of a packet.
func TestShortPathGrowsAsReno(t *testing.T) {
	p := newPath(20, 20*time.Millisecond)
	p.lose()
	p.wants(t, "after the loss", 14, 14)
	p.trips(6)
	p.wants(t, "six round trips later", 16, 17)
	p.trips(6)
	p.wants(t, "after twelve", 20, 20)
	p.trips(6)
	p.wants(t, "after eighteen", 25, 26)
}

// A second loss below the window of the first lowers the curve's plateau, but not where
// Reno's estimate begins: there is no round trip without growth.
func TestLossesInARowCostNoGrowth(t *testing.T) {
	p := newPath(100, 20*time.Millisecond)
	p.lose()
	p.lose()
	p.wants(t, "after two losses", 49, 49)
	p.trips(4)
	p.wants(t, "four round trips later", 51, 51)
}

// A loss takes its share of the window with the part of a packet that the sender cannot use.
func TestPartsOfAPacketAreKept(t *testing.T) {
	p := newPath(11, 20*time.Millisecond)
	p.lose()
	p.wants(t, "0.7 of 11", 7, 7)
	p.trips(1)
	p.wants(t, "7.7, and a round trip's half packet", 8, 8)
}

// On a long path the curve is what counts: back at the window of the loss after K seconds.
func TestLongPathFollowsTheCurve(t *testing.T) {
	p := newPath(1000, 100*time.Millisecond)
	p.lose()
	wait := math.Cbrt(1000 * (1 - decrease) / steepness)
	p.trips(int(wait / 2 / p.trip.Seconds()))
	p.wants(t, "half way", 940, 990)
	p.trips(int(wait / 2 / p.trip.Seconds()))
	p.wants(t, "at the plateau", 995, 1005)
	p.trips(int(wait / p.trip.Seconds()))
	p.wants(t, "as long after it", 1230, 1420)
}

// What is not used does not grow, and its time does not count.
func TestWindowRestsWithTheProgram(t *testing.T) {
	p := newPath(1000, 100*time.Millisecond)
	p.lose()
	p.trips(1)
	before := p.sender.SndCwnd
	for range 600 {
		p.now = p.now.Add(p.trip)
		p.sender.Outstanding = 0
		p.cubic.Update(1, p.trip, p.now)
	}
	p.wants(t, "after a minute of single packets", before, before)
	p.trips(1)
	p.wants(t, "a round trip later", before, before+40)
}

func TestThresholdIsHeldWhileOneSegmentIsLostAgain(t *testing.T) {
	p := newPath(100, 20*time.Millisecond)
	p.cubic.HandleRTOExpired()
	p.wants(t, "after the timer", 1, 1)
	p.cubic.HandleRTOExpired()
	if p.sender.Ssthresh != 70 {
		t.Fatalf("lost again, the threshold is %d", p.sender.Ssthresh)
	}
	p.trips(20)
	p.wants(t, "back at the threshold", 70, 80)
	p.sender.SndUna++
	before := p.sender.SndCwnd
	p.cubic.HandleRTOExpired()
	if share := float64(p.sender.Ssthresh) / float64(before); share < 0.68 || share > 0.72 {
		t.Fatalf("another one's loss: the threshold is %d, of %d", p.sender.Ssthresh, before)
	}
}
