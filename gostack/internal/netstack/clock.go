package netstack

import (
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// clock is gVisor's own, and knows of what is to be done at once: gVisor sends the packets
// that waited for a next hop's MAC from such a call (stack/neighbor_entry.go), when the
// neighbour is known already and the packets are in no queue.
type clock struct {
	tcpip.Clock

	attend func() func()
	soon   atomic.Int32
}

// busy is true while something is to be done at once, or being done.
func (c *clock) busy() bool { return c.soon.Load() > 0 }

// AfterFunc is tcpip.Clock's. Who runs f also sends what it produced.
func (c *clock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &timer{clock: c}
	t.set(d <= 0)
	t.Timer = c.Clock.AfterFunc(d, func() {
		defer t.set(false)
		defer c.attend()()
		f()
	})
	return t
}

// timer is gVisor's own, counted by its clock while its time has come.
type timer struct {
	tcpip.Timer

	clock *clock
	due   atomic.Bool
}

func (t *timer) set(due bool) {
	switch before := t.due.Swap(due); {
	case due && !before:
		t.clock.soon.Add(1)
	case !due && before:
		t.clock.soon.Add(-1)
	}
}

// Stop is tcpip.Timer's.
func (t *timer) Stop() bool {
	stopped := t.Timer.Stop()
	if stopped {
		t.set(false)
	}
	return stopped
}

// Reset is tcpip.Timer's; f may call it on its own timer.
func (t *timer) Reset(d time.Duration) {
	t.set(d <= 0)
	t.Timer.Reset(d)
}
