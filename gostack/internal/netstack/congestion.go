package netstack

import (
	"math"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Why: gVisor's CUBIC rounds the window down at every acknowledgment and begins its estimate of Reno's
// window too low after a loss, so that a transfer with random losses is slower than the kernel's.
//
// A new gVisor breaks this if it counts TCPSenderState.SndCwnd or Ssthresh in other units, or calls a
// congestion control at other moments (tcp/snd.go). If it asks for other methods,
// gvisorinternals.TestCongestionControl fails.

// cubic is CUBIC by RFC 9438.
//
// gVisor's own keeps the window as a whole number of packets and rounds it down at every
// acknowledgment, so that what is less than a packet for each of them is nothing: only its
// estimate of Reno's window makes it grow. That one it begins at 0.7 of a window that fast
// convergence has taken 0.15 off before, below where the sender is already: every other loss
// costs the window another tenth, or as many round trips as it takes to grow it.
//
// The endpoint's lock is held in each method that gVisor calls.
type cubic struct {
	sender *tcp.TCPSenderState
	slow   slowStart

	window  float64 // the sender's, with the part of a packet that it cannot have
	before  float64 // the window that the last loss met
	origin  float64 // the plateau of the curve (W_max)
	reno    float64 // what Reno's window would be (W_est)
	plateau float64 // seconds from begun to origin (K)
	growing bool    // begun, reno and plateau are of now
	begun   tcpip.MonotonicTime
	idle    bool // since resting it is the program or the peer that sets the rate
	resting tcpip.MonotonicTime

	timedOut bool
	expired  seqnum.Value // the oldest number that was under way when the timer last expired
}

// RFC 9438: 4.6, 5, and 4.3 (Reno's growth is scaled so that its average window is the same
// with a decrease of 0.7 as with its own of 0.5).
const (
	decrease   = 0.7
	steepness  = 0.4
	renoGrowth = 3 * (1 - decrease) / (1 + decrease)
	mostAhead  = 1.5 // of the window, in a round trip
	leastAfter = 2
)

// Update implements gVisor's congestionControl (tcp/snd.go).
func (c *cubic) Update(acked int, rtt time.Duration, at tcpip.MonotonicTime) {
	s := c.sender
	if s.SndCwnd < s.Ssthresh {
		c.slow.grow(s, acked, rtt, at)
		c.growing = false
		return
	}
	if s.Outstanding+acked < s.SndCwnd {
		c.rest(at)
		return
	}
	c.settle()
	switch {
	case !c.growing:
		c.begin(at)
	case c.idle:
		c.begun = c.begun.Add(at.Sub(c.resting))
	}
	c.idle = false
	packets := float64(acked)
	c.growReno(packets)
	elapsed := at.Sub(c.begun).Seconds()
	if c.curve(elapsed) < c.reno {
		c.window = max(c.window, c.reno)
	} else {
		target := min(max(c.curve(elapsed+s.RTTState.SRTT.Seconds()), c.window), mostAhead*c.window)
		c.window += packets * (target - c.window) / c.window
	}
	s.SndCwnd = int(c.window)
}

// settle takes the sender's window for ours where the sender has changed it.
func (c *cubic) settle() {
	if int(c.window) != c.sender.SndCwnd {
		c.window = float64(c.sender.SndCwnd)
	}
}

// begin is the start of an epoch (4.2): after a loss, or where slow start ended without one.
func (c *cubic) begin(at tcpip.MonotonicTime) {
	c.growing = true
	c.begun, c.reno = at, c.window
	c.origin = max(c.origin, c.window)
	c.plateau = math.Cbrt((c.origin - c.window) / steepness)
}

// rest is for an acknowledgment while it is not the window that sets the rate: it does not
// grow, nor does the time count (5.8).
func (c *cubic) rest(at tcpip.MonotonicTime) {
	if !c.idle {
		c.idle, c.resting = true, at
	}
}

func (c *cubic) growReno(packets float64) {
	growth := renoGrowth
	if c.reno >= c.before {
		growth = 1
	}
	c.reno += growth * packets / c.window
}

// curve is W_cubic.
func (c *cubic) curve(seconds float64) float64 {
	return steepness*math.Pow(seconds-c.plateau, 3) + c.origin
}

// HandleLossDetected implements gVisor's congestionControl.
func (c *cubic) HandleLossDetected() {
	c.settle()
	c.before, c.growing = c.window, false
	origin := c.origin
	c.origin = c.window
	if c.window < origin {
		c.origin *= (1 + decrease) / 2 // fast convergence (4.7)
	}
	c.window = max(c.window*decrease, leastAfter)
	c.sender.Ssthresh = int(c.window)
}

// HandleRTOExpired implements gVisor's congestionControl (4.8). Of a segment that is lost again the
// threshold is what the first loss of it has left (RFC 5681, 3.1).
func (c *cubic) HandleRTOExpired() {
	if s := c.sender; !c.timedOut || c.expired != s.SndUna {
		c.HandleLossDetected()
	}
	c.timedOut, c.expired = true, c.sender.SndUna
	c.sender.SndCwnd = 1
}

// PostRecovery implements gVisor's congestionControl: the sender has set the window already.
func (c *cubic) PostRecovery() {}
