package netstack

import (
	"sync/atomic"
	"time"
)

// glance is how often the resident looks in a lull.
const glance = time.Millisecond

// lull is a time in which nothing that comes is urgent: the program opens and closes
// connections, and says and awaits nothing on those that are open. What comes is the end of
// what was closed. Each would wake the resident thread, on the processor that its sender (the
// peer on this machine, or the network card) is busy on, and whoever opens the next
// connection receives anyway. So the resident sleeps on, and looks now and then whether
// nobody opens one any more.
//
// The last words of a handshake and of a connection wait as well, for two milliseconds at most, until
// there are those of several (link/late.go): whoever sends on the connection or reads sends its ACK with
// that. A Linux client holds that one back like that where it knows that something follows
// (tcp_rcv_synsent_state_process). The peer sleeps and wakes once for several connections.
type lull struct {
	asked   atomic.Uint64 // connections that were begun
	engaged atomic.Int32  // endpoints that somebody sends on, reads or waits for

	// With the pump's lock held.
	on   bool
	seen uint64 // of asked, when the resident looked last
}

// engage is for an endpoint on which something urgent may come from now on.
func (p *pump) engage() {
	if p.lull.engaged.Add(1) > 1 {
		return
	}
	p.mu.Lock()
	ended := p.endLull()
	p.mu.Unlock()
	if ended {
		_ = p.wire.Flush()
	}
}

func (p *pump) disengage() { p.lull.engaged.Add(-1) }

// beginLull begins one where nothing speaks against it, for the resident on its seat.
func (p *pump) beginLull(s *seat) {
	if p.lull.engaged.Load() > 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.lull.asked.Load()
	if p.closed || asked == p.lull.seen {
		return
	}
	p.lull.seen = asked
	// Once more under the lock, which who engages takes after counting himself.
	p.lull.on = p.lull.engaged.Load() == 0
	if p.lull.on {
		p.edge.Patient()
		_ = p.arm(s, false)
	}
}

// endLull must be called with the lock held. Where there was one, what waits to be sent is the
// caller's to send, without the lock.
func (p *pump) endLull() bool {
	if !p.lull.on {
		return false
	}
	p.lull.on = false
	p.edge.Impatient()
	if p.leader == nil && !p.closed {
		_ = p.arm(p.resident, true)
	}
	return true
}

// rest is until when the resident may sleep, and whether there is a lull.
func (p *pump) rest(until time.Time) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lull.on {
		return until, false
	}
	soon := time.Now().Add(glance)
	if !until.IsZero() && until.Before(soon) {
		return until, true
	}
	return soon, true
}

// look ends a lull in which no connection was begun since the last look, and receives what
// has come. Where one was, it has done that itself, and sent what waited.
func (p *pump) look() error {
	p.mu.Lock()
	asked := p.lull.asked.Load()
	over := asked == p.lull.seen
	if over {
		p.endLull()
	}
	p.lull.seen = asked
	p.mu.Unlock()
	switch {
	case over:
		return p.wire.Receive()
	case p.edge.HastenOld():
		return p.wire.Flush()
	}
	return nil
}

// engage says that something urgent may come for this endpoint: somebody sends on it, reads
// or waits for it.
func (e *Endpoint) engage() {
	if !e.engaged.Load() && !e.engaged.Swap(true) {
		e.stack.pump.engage()
	}
}

// disengage says that nobody does any more.
func (e *Endpoint) disengage() {
	if e.engaged.Swap(false) {
		e.stack.pump.disengage()
	}
}

// disengageForGood is for an endpoint that is closed, whatever a thread that is late does on it.
func (e *Endpoint) disengageForGood() {
	if e.engaged.Swap(true) {
		e.stack.pump.disengage()
	}
}
