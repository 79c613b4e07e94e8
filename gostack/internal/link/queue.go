package link

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// queueLimit is frames. TCP is bounded by its windows, UDP by crowded; this bounds
	// what a stuck drainer could cost with thousands of connections.
	queueLimit = 1 << 16

	// crowdedAt and roomyAt are the queue's lengths at which a sender of datagrams is
	// told to wait, and to go on: a few batches ahead of the drainer. The fragments of
	// a large datagram escape gVisor's own count of what a socket has in flight.
	crowdedAt = 1024
	roomyAt   = crowdedAt / 2
)

// queue holds outgoing packets in order. Waiting is the drainer's fallback: the
// eventfd is written only when a drain came back empty since the last write, and not
// while a thread attends that is going to drain, so one that sends what it has just
// produced costs no wake-up of another.
type queue struct {
	wake int

	mu        sync.Mutex
	pkts      []*stack.PacketBuffer
	head      int
	armed     bool
	attending int  // threads that drain before they go
	waited    bool // a sender of datagrams was told to wait
	closed    bool
}

func newQueue() (*queue, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd2", err)
	}
	return &queue{wake: fd, armed: true}, nil
}

// push appends and returns how many there was room for.
func (q *queue) push(pkts []*stack.PacketBuffer) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0
	}
	room := queueLimit - (len(q.pkts) - q.head)
	if len(pkts) > room {
		pkts = pkts[:room]
	}
	for _, pkt := range pkts {
		q.pkts = append(q.pkts, pkt.IncRef())
	}
	q.announce()
	return len(pkts)
}

// announce must be called with the lock held.
func (q *queue) announce() {
	if q.armed && q.attending == 0 && len(q.pkts) > q.head && !q.closed {
		q.armed = false
		_, _ = unix.Write(q.wake, one)
	}
}

// rouse wakes who polls the eventfd, whatever waits.
func (q *queue) rouse() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		_, _ = unix.Write(q.wake, one)
	}
}

// hand announces what waits though the caller attends, and also where nothing does.
func (q *queue) hand() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.armed && !q.closed {
		q.armed = false
		_, _ = unix.Write(q.wake, one)
	}
}

// attend is for a thread that is going to drain, and to leave.
func (q *queue) attend() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.attending++
}

// leave announces what came after the thread's last look.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.attending--
	q.announce()
}

// leaveQuietly is for a thread that knows when its frames will be drained.
func (q *queue) leaveQuietly() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.attending--
}

// pop moves up to max packets to out. An empty answer arms the eventfd. roomy is
// true once after crowded was, when there is room again.
func (q *queue) pop(out []*stack.PacketBuffer, max int) (popped []*stack.PacketBuffer, roomy bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(max, len(q.pkts)-q.head)
	if n == 0 {
		q.armed = true
		return out, false
	}
	out = append(out, q.pkts[q.head:q.head+n]...)
	clear(q.pkts[q.head : q.head+n])
	q.head += n
	switch {
	case q.head == len(q.pkts):
		q.pkts, q.head = q.pkts[:0], 0
	case q.head >= queueLimit/4:
		// Never empty, under steady load: the part already drained must not stay.
		q.pkts = append(q.pkts[:0], q.pkts[q.head:]...)
		q.head = 0
	}
	if q.waited && len(q.pkts)-q.head <= roomyAt {
		q.waited = false
		roomy = true
	}
	return out, roomy
}

// crowded reports whether a sender of datagrams should wait; pop tells when no more.
func (q *queue) crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pkts)-q.head < crowdedAt || q.closed {
		return false
	}
	q.waited = true
	return true
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pkts) - q.head
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.closed = true
	for _, pkt := range q.pkts[q.head:] {
		pkt.DecRef()
	}
	q.pkts, q.head = nil, 0
	_ = unix.Close(q.wake)
}

// one is what is written to an eventfd. It cannot block: the counter is far from its limit.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}
