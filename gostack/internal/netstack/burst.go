package netstack

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// burstGap is how soon a datagram must follow the one before to be taken for one of a burst,
	// and how long the first of those that are gathered waits while more come.
	burstGap = 50 * time.Microsecond
	// burstWait is how long the last of a burst waits for more at most.
	burstWait = 500 * time.Microsecond
	// burstFrames is how many are sent at once: what one segmented packet holds of 1,400 bytes.
	burstFrames = 46
)

// burst gathers the datagrams that a program sends in quick succession, so that one system call
// sends several of them, as one packet where the kernel can cut it (link/udpgso.go). A datagram
// that does not follow another at once leaves before the call returns, and so do all as soon as
// the program receives or waits.
type burst struct {
	waits atomic.Bool // datagrams are queued that no thread has flushed

	mu    sync.Mutex
	timer int // timerfd that the resident polls
	armed bool
	last  time.Time // of the datagram before
	since time.Time // of the first that waits
}

func newBurst() (*burst, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	return &burst{timer: fd}, os.NewSyscallError("timerfd_create", err)
}

// gather decides whether a datagram that was just queued waits for more; queued counts those
// that wait. False: the caller flushes.
func (b *burst) gather(now time.Time, queued int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	follows := now.Sub(b.last) < burstGap
	b.last = now
	if !b.waits.Load() {
		b.since = now
	}
	if !follows || queued >= burstFrames || now.Sub(b.since) >= burstGap {
		b.waits.Store(false)
		return false
	}
	b.waits.Store(true)
	if !b.armed {
		b.armed = true
		after := unix.ItimerSpec{Value: unix.NsecToTimespec(burstWait.Nanoseconds())}
		_ = unix.TimerfdSettime(b.timer, 0, &after, nil)
	}
	return true
}

// expired takes down the timer.
func (b *burst) expired() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var count [8]byte
	_, _ = unix.Read(b.timer, count[:])
	b.armed = false
}

// sendDatagram calls a function that queues a datagram, and sends it, unless more are likely to follow.
func (p *pump) sendDatagram(queue func()) {
	b := p.burst
	if b == nil || !p.wire.Attached() {
		queue()
		return
	}
	p.edge.Attend()
	queue()
	if b.gather(time.Now(), p.edge.Queued()) {
		p.edge.LeaveQueued()
		return
	}
	_ = p.wire.Flush() // an error of the packet socket is reported to the threads that wait
	p.edge.Leave()
}

// flushBurst sends the datagrams that wait for more.
func (p *pump) flushBurst() {
	if b := p.burst; b != nil && b.waits.Swap(false) {
		_ = p.wire.Flush()
	}
}
