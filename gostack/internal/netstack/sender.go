package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netkat/gostack/internal/gvisorinternals"
)

// Why: gVisor lets a program choose among its own congestion controls, by name, and has no way to bring
// another. congestion.go and slowstart.go say what is wrong with its own. assumeLost is for a path MTU
// that has become smaller.
//
// A new gVisor breaks this if its sender asks a congestion control for other methods, or keeps state of its
// own elsewhere (tcp/snd.go). If fields are missing, connections go on with gVisor's own congestion control,
// and TestSenderHasNetkatsCongestionControl fails.

// takeControl gives a connection's sender our congestion control, before the first bytes are
// sent: many a connection is only opened and closed.
func (e *Endpoint) takeControl() {
	if e.controlled.Load() {
		return
	}
	ep, ok := e.ep.(*tcp.Endpoint)
	if !ok {
		return
	}
	ep.LockUser()
	defer ep.UnlockUser()
	sender, ok := gvisorinternals.SenderOf(ep)
	if !ok || e.controlled.Swap(true) {
		return
	}
	sender.SetControl(&cubic{sender: sender.State()})
	if e.seen().SynsSent > 1 {
		forgetHandshake(sender.RoundTrip())
	}
}

// forgetHandshake has the first segment measure the round trip. gVisor sends a SYN that was lost
// again with the timestamp of the first, so that the second's answer tells of a second: the timer
// would wait for three, and for little less over thousands of segments.
func forgetHandshake(measured *tcp.TCPRTTState) { *measured = tcp.TCPRTTState{} }

// assumeLost has nothing in flight any more. The function it returns puts back the segment size,
// which gVisor has lowered meanwhile.
func (e *Endpoint) assumeLost(ep *tcp.Endpoint) (restore func()) {
	ep.LockUser()
	defer ep.UnlockUser()
	sender, ok := gvisorinternals.SenderOf(ep)
	if !ok || sender.ScoreboardSegment() == nil {
		return func() {}
	}
	state, smss := sender.State(), sender.ScoreboardSegment()
	payload, sacked := state.MaxPayloadSize, *smss
	state.Outstanding = 0
	return func() {
		ep.LockUser()
		defer ep.UnlockUser()
		state.MaxPayloadSize, *smss = payload, sacked
	}
}
