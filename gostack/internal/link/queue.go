package link

import (
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// queueLimit is frames. TCP is bounded by its windows and UDP by its send buffer
// (each holds its packets until they are drained), so this is reached by neither;
// it bounds what a stuck drainer could cost with thousands of connections.
const queueLimit = 1 << 16

// queue holds outgoing packets in order. Waiting is the drainer's fallback: the
// eventfd is written only when a drain came back empty since the last write, so a
// thread that sends what it has just produced costs no wake-up of another.
type queue struct {
	wake int

	mu     sync.Mutex
	pkts   []*stack.PacketBuffer
	head   int
	armed  bool
	closed bool
}

func newQueue() (*queue, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
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
	if q.armed && len(pkts) > 0 {
		q.armed = false
		wakeUp(q.wake)
	}
	return len(pkts)
}

// pop moves up to max packets to out. An empty answer arms the eventfd.
func (q *queue) pop(out []*stack.PacketBuffer, max int) []*stack.PacketBuffer {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(max, len(q.pkts)-q.head)
	if n == 0 {
		q.armed = true
		return out
	}
	out = append(out, q.pkts[q.head:q.head+n]...)
	clear(q.pkts[q.head : q.head+n])
	q.head += n
	if q.head == len(q.pkts) {
		q.pkts, q.head = q.pkts[:0], 0
	}
	return out
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

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// wakeUp adds one to an eventfd. It cannot block: the counter is far from its limit.
func wakeUp(fd int) { _, _ = unix.Write(fd, one) }
