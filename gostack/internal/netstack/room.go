package netstack

import (
	"io"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netkat/gostack/internal/link"
)

// aloneFor is how long a connection must have been the only one that is read at length, before its
// segments are received straight to where they are wanted. Of several, each with its frames
// among the others', whole batches of frames are received in less time.
const aloneFor = 10 * time.Millisecond

// readers knows which connection was read at length last, and since when no other one.
type readers struct {
	mu    sync.Mutex
	last  *Endpoint
	since time.Time
}

// alone says whether the endpoint, which is about to be read at length, is the only one.
func (r *readers) alone(e *Endpoint) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.last != e {
		r.last, r.since = e, now
	}
	return now.Sub(r.since) > aloneFor
}

// reader is how Gather reads into b, by the number of bytes that are there already; from enough on
// it need not go on. done says whether the segments were received straight into b.
func (e *Endpoint) reader(b []byte) (read func(got int) (int, tcpip.Error), enough int, done func() bool) {
	room := e.roomIn(b)
	if room == nil {
		return func(got int) (int, tcpip.Error) {
			n, _, _, err := e.recv(b[got:])
			return n, err
		}, len(b), func() bool { return false }
	}
	read = func(got int) (n int, err tcpip.Error) {
		room.Read(got, func(w io.Writer) (int, uint32) {
			n, _, _, err = e.readBy(w)
			return n, e.next()
		})
		return n, err
	}
	// Beyond that a segment of the largest kind has no place.
	return read, len(b) - link.SmallestRoom/2 + 1, func() bool {
		e.stack.wire.Withdraw(room)
		return true
	}
}

// roomIn makes a room of b, where that is worth it.
func (e *Endpoint) roomIn(b []byte) *link.Room {
	if !e.stack.readers.alone(e) || len(b) < link.SmallestRoom || !e.seen().SynReceived {
		return nil
	}
	room := link.NewRoom(e.key, b, e.next(), e.alone)
	if !e.stack.wire.Offer(room) {
		return nil
	}
	return room
}

// next is the sequence number of the byte that is to be read next.
func (e *Endpoint) next() uint32 {
	return e.seen().PeerInitial + 1 + e.read.Load()
}

// alone calls f while nobody reads from gVisor's endpoint, and it does no work of its own.
func (e *Endpoint) alone(f func()) {
	if ep, ok := e.ep.(*tcp.Endpoint); ok {
		ep.LockUser()
		defer ep.UnlockUser()
	}
	f()
}
