package netstack

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"netkat/gostack/internal/link"
)

// ErrInterrupted says that a wait ended before its time: by a signal, or because it was
// to move frames but once.
var ErrInterrupted = errors.New("interrupted")

// sparesKept is how many seats are kept for those who wait next.
const sparesKept = 4

// pump decides who receives. One thread is resident: it does nothing else. A thread that
// waits for something of its own receives meanwhile in its stead: what it waits for then
// comes without another thread's help, and two wake-ups less are a good part of the
// latency. Of several, the one that began to wait last does it, since it is the busy one.
//
// Each waits in poll(2) on a seat, an epoll of the socket alone, in which the socket is
// armed or not: epoll_ctl takes it away from a thread that sleeps, without waking it.
type pump struct {
	wire     *link.Wire
	edge     *link.Endpoint
	wake     int         // the edge's eventfd: frames wait that nobody has drained
	residing atomic.Bool // the resident polls it
	fed      atomic.Bool // feed

	mu       sync.Mutex
	fd       int
	resident *seat
	leader   *seat
	spare    []*seat
	burst    *burst // nil until a packet socket is attached
	closed   bool
}

type seat struct {
	epoll int
	armed bool
}

func newPump(wire *link.Wire, edge *link.Endpoint) *pump {
	return &pump{wire: wire, edge: edge, wake: edge.WakeFD()}
}

// attach is for after the wire has its socket.
func (p *pump) attach() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fd = p.wire.FD()
	s, err := p.newSeat()
	if err != nil {
		return err
	}
	if p.burst, err = newBurst(); err != nil {
		_ = unix.Close(s.epoll)
		return err
	}
	p.resident = s
	return p.arm(s, true)
}

// close frees the seats that nobody sits on; the others go as they are left.
func (p *pump) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.spare {
		_ = unix.Close(s.epoll)
	}
	p.spare = nil
	if p.resident != nil {
		_ = unix.Close(p.resident.epoll)
		_ = unix.Close(p.burst.timer)
		p.resident = nil
	}
}

func (p *pump) newSeat() (*seat, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, p.fd, &unix.EpollEvent{}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &seat{epoll: fd}, nil
}

func (p *pump) arm(s *seat, on bool) error {
	if s == nil || s.armed == on {
		return nil
	}
	var event unix.EpollEvent
	if on {
		event.Events = unix.EPOLLIN
	}
	s.armed = on
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, p.fd, &event)
}

// sit gives the calling thread a seat on which it is the one that receives, unless the
// resident is fed: then it only waits.
func (p *pump) sit() (*seat, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.resident == nil {
		return nil, link.ErrDetached
	}
	var s *seat
	if n := len(p.spare); n > 0 {
		s, p.spare = p.spare[n-1], p.spare[:n-1]
	} else {
		var err error
		if s, err = p.newSeat(); err != nil {
			return nil, err
		}
	}
	if p.fed.Load() {
		return s, p.arm(s, false)
	}
	before := p.leader
	if before == nil {
		before = p.resident
	}
	p.leader = s
	_ = p.arm(before, false)
	return s, p.arm(s, true)
}

// leave makes the resident receive again, unless another thread sat down later.
func (p *pump) leave(s *seat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == s {
		// The seat stays armed: nobody polls it, and who takes it next need not arm it.
		p.leader = nil
		if !p.closed {
			_ = p.arm(p.resident, true)
		}
	}
	if p.closed || len(p.spare) >= sparesKept {
		_ = unix.Close(s.epoll)
		return
	}
	p.spare = append(p.spare, s)
}

// wait moves frames until one of fds polls readable, whose bits it returns, or time is
// over (the zero time: there is no limit). once: it ends with ErrInterrupted as soon as it
// has moved some, for a thread that has signals to look after. Any other error is the wire's.
func (p *pump) wait(fds []int32, until time.Time, once bool) (uint64, error) {
	s, err := p.sit()
	if err != nil {
		return 0, err
	}
	defer p.leave(s)
	return p.move(s, fds, until, once)
}

// ask calls a function that makes the stack send, sends the frames, and receives the answers that
// have arrived by then. A peer on this machine answers before the send returns.
func (p *pump) ask(request func()) {
	s, err := p.sit()
	if err != nil {
		request()
		return
	}
	defer p.leave(s)
	leave := p.wire.Attend()
	request()
	// An error of the packet socket is reported to the threads that wait.
	if leave() == nil {
		_ = p.wire.Receive()
	}
}

func (p *pump) move(s *seat, fds []int32, until time.Time, once bool) (uint64, error) {
	p.flushBurst()
	wake := p.wake
	if p.residing.Load() {
		wake = -1 // one thread is enough to be woken for them
	}
	w := newWatch(fds, s.epoll, wake)
	moved := false
	for {
		if moved && once {
			until = time.Now()
		}
		n, err := w.poll(until, false)
		if err != nil {
			return 0, err
		}
		if bits := w.ready(); bits != 0 {
			return bits, nil
		}
		if n == 0 {
			if moved && once {
				return 0, ErrInterrupted
			}
			return 0, nil
		}
		if err := p.round(w.frames(), w.woken()); err != nil {
			return 0, err
		}
		moved = true
	}
}

func (p *pump) round(receive, send bool) error {
	if send {
		var b [8]byte
		_, _ = unix.Read(p.wake, b[:])
	}
	if receive {
		return p.wire.Receive()
	}
	return p.wire.Flush()
}

// Attach gives the stack its packet socket, from which it receives, and on which it
// sends, whenever a thread that calls in has a reason to.
func (s *Stack) Attach(fd int, in, out []link.Mmsghdr, tally *[link.TallySize]uint64) error {
	s.wire.Attach(fd, in, out, tally)
	return s.pump.attach()
}

// Detach returns once nobody uses the socket any more.
func (s *Stack) Detach() {
	s.wire.Detach()
	s.pump.close()
}

// attend is for whoever makes the stack produce frames: what it returns sends them.
func (s *Stack) attend() func() {
	leave := s.wire.Attend()
	return func() { _ = leave() } // what is wrong with the wire is told by who waits
}

// Flush hands every queued frame to the kernel.
func (s *Stack) Flush() error { return s.wire.Flush() }

// Wait is pump.wait.
func (s *Stack) Wait(fds []int32, until time.Time, once bool) (uint64, error) {
	return s.pump.wait(fds, until, once)
}

// Reside is pump.reside.
func (s *Stack) Reside(fds []int32, until time.Time) (uint64, error) {
	return s.pump.reside(fds, until)
}
