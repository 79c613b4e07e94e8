package netstack

import (
	"net/netip"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	// inPieces is from how many bytes on what is poured is copied and sent by pieces.
	inPieces = 2 * piece
	// awayAfter is how long a thread must have been away between two calls to be taken for one that
	// will be again: one that computes meanwhile, or waits for Python's lock.
	awayAfter = time.Millisecond
	// leftBehind is the send buffer of one that is away now and again: what is sent in 5 ms, Python's
	// switch interval, at 26 Gbit/s.
	leftBehind = 16 << 20
	// keptFor is how long memory to pour into waits for the next to be poured.
	keptFor = time.Second
)

// pourer is what is known of the threads that pour.
type pourer struct {
	left  atomic.Int64 // nanoseconds, when the last one did
	fixed atomic.Bool  // the size of the send buffer is the program's choice, or was made for them
	kept  *time.Timer
}

// Pour writes b as Send does, and goes on as there is room, until all is taken or its time
// is over. It receives meanwhile, in the resident's stead: what the peer acknowledges makes
// the room, and no other thread need be woken for it. 0 bytes are tcpip.ErrWouldBlock.
func (e *Endpoint) Pour(b []byte, patience time.Duration) (int, tcpip.Error) {
	pump := e.stack.pump
	s, err := pump.sit()
	if err != nil {
		return e.Send(b, netip.AddrPort{})
	}
	defer pump.leave(s)
	until := time.Now().Add(patience)
	if ep, ok := e.ep.(*tcp.Endpoint); ok && len(b) >= inPieces {
		return e.pourPieces(ep, s, b, until)
	}
	taken := 0
	for {
		n, err := e.Send(b[taken:], netip.AddrPort{})
		taken += n
		if taken == len(b) || err != nil && !wouldBlock(err) {
			return told(taken, err)
		}
		if !e.roomBy(s, until, e.canWrite) {
			return told(taken, &tcpip.ErrWouldBlock{})
		}
	}
}

// pourPieces is Pour for much: each piece is sent while it is in the processor's cache, and the
// memory that it is copied to is used again, not cleared.
func (e *Endpoint) pourPieces(ep *tcp.Endpoint, s *seat, b []byte, until time.Time) (taken int, err tcpip.Error) {
	e.takeControl()
	e.pouring.Lock()
	defer e.donePouring()
	e.cameBack(len(b))
	defer e.leftForNow()
	defer func() { e.writable.settle(e.canWrite) }()
	for {
		n, err := e.pourWhatFits(ep, b[taken:])
		taken += n
		if taken == len(b) || err != nil {
			return told(taken, err)
		}
		roomy := func() bool { return e.roomFor(ep, len(b)-taken) }
		if !e.roomBy(s, until, roomy) {
			return told(taken, &tcpip.ErrWouldBlock{})
		}
	}
}

// pourWhatFits queues as much of b as the send buffer has room for. Every segment that the windows
// allow has been handed to the kernel when it returns.
func (e *Endpoint) pourWhatFits(ep *tcp.Endpoint, b []byte) (taken int, _ tcpip.Error) {
	defer e.stack.attend()()
	for pieces := 1; taken < len(b); pieces++ {
		room, err := roomIn(ep)
		if err != nil && !wouldBlock(err) {
			return taken, e.lasting(err)
		}
		rest := len(b) - taken
		if room < min(rest, piece, e.halfBuffer()) {
			break
		}
		n := min(rest, piece, room)
		if err := queueToSend(ep, e.stack.clock, e.lent(b[taken:taken+n])); err != nil {
			return taken, e.lasting(err)
		}
		taken += n
		e.written.Add(uint64(n))
		// Acknowledgments that have arrived are received here: the resident would be woken for them.
		if (pieces%handPieces == 0 || taken == len(b)) && e.stack.wire.Flush() == nil {
			_ = e.stack.wire.Glance()
		}
	}
	return taken, nil
}

// lent is a copy of b, in memory that the endpoint is lent.
func (e *Endpoint) lent(b []byte) (lent buffer.Buffer) {
	part := e.loans.Take().Clone()
	copy(part.AsSlice(), b)
	part.CapLength(len(b))
	_ = lent.Append(part)
	return lent
}

// roomFor says whether there is room for so many bytes, or half of the send buffer is free: what
// gVisor tells of. It is also true where there is an error to be told.
func (e *Endpoint) roomFor(ep *tcp.Endpoint, n int) bool {
	room, err := roomIn(ep)
	return err != nil && !wouldBlock(err) || room >= n || room > e.halfBuffer()
}

func (e *Endpoint) halfBuffer() int { return int(e.ep.SocketOptions().GetSendBufferSize() / 2) }

// roomBy waits for room until its time is over; false also where the wait was cut short.
func (e *Endpoint) roomBy(s *seat, until time.Time, ready func() bool) bool {
	if e.moved(ready) {
		return time.Now().Before(until)
	}
	return e.await(s, func() (int, error) {
		fd, err := e.WritableFD()
		e.writable.settle(ready)
		return fd, err
	}, until)
}

// cameBack is for a thread that begins to send so many bytes. The send buffer grows if the thread was
// away since it last sent: what it holds is sent while the thread is away again.
func (e *Endpoint) cameBack(size int) {
	if e.pourer.kept != nil {
		e.pourer.kept.Stop()
	}
	left := e.pourer.left.Load()
	away := left != 0 && time.Now().UnixNano()-left > awayAfter.Nanoseconds()
	if away && size > tcpBufferMax && !e.pourer.fixed.Swap(true) {
		e.ep.SocketOptions().SetSendBufferSize(leftBehind, true)
	}
}

// leftForNow lets go of the memory if nobody comes back for a while.
func (e *Endpoint) leftForNow() {
	e.pourer.left.Store(time.Now().UnixNano())
	if e.pourer.kept != nil {
		e.pourer.kept.Reset(keptFor)
		return
	}
	e.pourer.kept = time.AfterFunc(keptFor, func() {
		if e.pouring.TryLock() {
			e.loans.Settle()
			e.donePouring()
		}
	})
}
