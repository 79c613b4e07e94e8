package netstack

import (
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// piece is what is read at once: what one frame carries of segments of 1,448 bytes.
	piece = 65160
	// handPieces is how many make it worth to wake the thread that sends them, or finds that
	// there is room in the peer's window again.
	handPieces = 8
	// copyBelow is the size up to which what was read is copied, so that the memory
	// of a piece does not lie in the queue for some bytes of a pipe.
	copyBelow = piece / 2
)

// Poured is what became of a PourFrom.
type Poured struct {
	Taken int   // bytes that the endpoint has taken
	Lost  int   // bytes read when the connection failed, and not taken: the next call says how
	Ended bool  // nothing was taken, and the source has come to its end
	Read  error // nothing was taken, and why the source cannot be read
}

// PourFrom sends what a regular file or a pipe gives, at most so many bytes, for so long at
// most. The kernel's copy of them is the only one. It may take nothing: there is nothing to read
// at this moment, or no room. What ends it after bytes comes again at the next call.
//
// This thread reads and the resident sends, so that two processors share the work.
func (e *Endpoint) PourFrom(fd, most int, patience time.Duration) (p Poured, err tcpip.Error) {
	ep, ok := e.ep.(*tcp.Endpoint)
	if !ok {
		return p, &tcpip.ErrNotSupported{}
	}
	pump := e.stack.pump
	from, fault := newSource(fd, pump.pause)
	if fault != nil {
		return Poured{Read: fault}, nil
	}
	e.takeControl()
	e.pouring.Lock()
	defer e.donePouring()
	defer e.stack.attend()()
	defer pump.pause()
	until := time.Now().Add(patience)
	pieces := 0
	for p.Taken < most {
		space, err := roomIn(ep)
		if err != nil && !wouldBlock(err) {
			if err = e.lasting(err); p.Taken > 0 {
				err = nil
			}
			return p, err
		}
		if space > 0 && !e.pourPiece(ep, from, min(piece, most-p.Taken, space), &p) {
			break
		}
		if pieces++; pieces%handPieces == 0 {
			pump.feed()
			e.stack.Link.HandOver()
		}
		if space < piece && !e.halfFreeBy(until, space > 0) || !time.Now().Before(until) {
			break
		}
	}
	return p, nil
}

// pourPiece reads once and queues what came; false where there is no more for now.
func (e *Endpoint) pourPiece(ep *tcp.Endpoint, from *source, most int, p *Poured) bool {
	memory := e.loans.Take()
	n, fault := from.read(memory.AsSlice()[:most])
	if fault != nil || n == 0 {
		e.loans.Settle()
		if p.Taken == 0 && fault != errNothingNow {
			p.Ended, p.Read = fault == nil, fault
		}
		return false
	}
	var b buffer.Buffer
	if n < copyBelow {
		b = buffer.MakeWithData(memory.AsSlice()[:n])
	} else {
		part := memory.Clone()
		part.CapLength(n)
		_ = b.Append(part)
	}
	if err := queueToSend(ep, e.stack.clock, b); err != nil {
		p.Lost = n
		_ = e.lasting(err)
		return false
	}
	p.Taken += n
	e.written.Add(uint64(n))
	return true
}

// halfFreeBy waits until half of the send buffer is free, so that what is read next need not be cut
// to what little there is room for; false when time is over. some: there was room a moment ago.
func (e *Endpoint) halfFreeBy(until time.Time, some bool) bool {
	fd, err := e.WritableFD()
	if err != nil {
		return true // closed: what comes next says so
	}
	e.writable.settle(e.halfEmpty)
	left := max(0, int(time.Until(until).Milliseconds())+1)
	if e.halfEmpty() {
		if some {
			return true
		}
		// gVisor is about to hear of it, unless it does not believe it.
		left = min(left, 1)
	}
	e.stack.pump.pause()
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], left)
	return err == nil && (n > 0 || time.Now().Before(until))
}

// halfEmpty knows of an acknowledgement before gVisor does, which tells when half is free
// (tcp/endpoint.go, updateSndBufferUsage): so that what it tells after this is not missed.
func (e *Endpoint) halfEmpty() bool {
	if e.ep.Readiness(waiter.EventErr|waiter.EventHUp) != 0 {
		return true
	}
	delivered := max(e.seen().Acked, 1) - 1
	used := int64(e.written.Load()) - int64(delivered)
	return used < e.ep.SocketOptions().GetSendBufferSize()/2
}

// donePouring lets the next one pour.
func (e *Endpoint) donePouring() {
	e.pouring.Unlock()
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		e.freeLoans()
	}
}

// freeLoans is for an endpoint that is closed. Who pours at this moment does it itself.
func (e *Endpoint) freeLoans() {
	if e.pouring.TryLock() {
		defer e.pouring.Unlock()
		e.loans.Free()
	}
}
