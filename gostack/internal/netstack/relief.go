package netstack

import (
	"time"

	"golang.org/x/sys/unix"
)

// reliefAfter is how long the resident leaves the socket to who reads much at once and is back as
// soon as the program has taken what it read.
const reliefAfter = time.Millisecond

// relief has the resident receive only when nobody has come back for a while. Woken at once, it
// would take what the next reader is about to receive to where it is wanted.
type relief struct {
	timer   int
	pending bool
}

func newRelief() (relief, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	return relief{timer: fd}, err
}

// begin must be called with the pump's lock held.
func (r *relief) begin() {
	if r.pending {
		return
	}
	r.pending = true
	after := unix.ItimerSpec{Value: unix.NsecToTimespec(reliefAfter.Nanoseconds())}
	_ = unix.TimerfdSettime(r.timer, 0, &after, nil)
}

// relieve is for the resident, when the timer polls readable.
func (p *pump) relieve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b [8]byte
	_, _ = unix.Read(p.relief.timer, b[:])
	p.relief.pending = false
	if p.leader == nil && !p.closed {
		_ = p.arm(p.resident, true)
	}
}
