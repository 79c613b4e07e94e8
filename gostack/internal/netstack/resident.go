package netstack

import (
	"slices"
	"time"

	"netkat/gostack/internal/link"
)

// reside is wait for the thread that does nothing else, and sends for those who cannot. While it is
// fed (feed.go) it is not woken by frames that come.
func (p *pump) reside(fds []int32, until time.Time) (uint64, error) {
	p.mu.Lock()
	s := p.resident
	p.mu.Unlock()
	if s == nil {
		return 0, link.ErrDetached
	}
	p.residing.Store(true)
	defer p.residing.Store(false)
	w := newWatch(append(slices.Clip(fds), int32(p.burst.timer)), s.epoll, p.wake)
	timer := uint64(1) << len(fds)
	for {
		fed := p.fed.Load()
		n, err := w.poll(until, fed)
		if err != nil {
			return 0, err
		}
		bits := w.ready()
		if bits&timer != 0 {
			p.burst.expired()
			p.flushBurst()
			bits &^= timer
		}
		if bits == 0 && n == 0 && !fed || n == 0 && over(until) {
			return 0, nil
		}
		if n == 0 && fed {
			// Who feeds it has been away for long.
			p.fed.Store(false)
		}
		if bits == 0 && (fed || w.frames() || w.woken()) {
			err = p.round(fed || w.frames(), w.woken())
		}
		if bits != 0 || err != nil {
			return bits, err
		}
	}
}
