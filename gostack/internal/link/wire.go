package link

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TallySize is the length of a wire's tally (GS_TALLY).
const TallySize = 256

// tallySent and tallyUnreadable are the tally's entries that are no errno of a refused frame.
const (
	tallySent       = 0
	tallyUnreadable = TallySize - 1
)

// stuck is how long a frame waits for room in the socket's send buffer. A device that
// completes nothing for so long is stuck, and who waits on would keep a close waiting too.
const stuck = time.Second

// ErrDetached says that the wire is not, or no more, for this stack to use.
var ErrDetached = errors.New("no wire is attached")

// Wire is a packet socket and the batches that the caller lends for it. Whoever has just
// made the stack produce frames sends them; whoever waits receives them.
//
// Its system calls never wait, and are hidden from Go's scheduler (RawSyscall6). From one
// that lasts, as a batch's does, the scheduler would take the thread's processor away and
// wake another thread for it, which then finds nothing to do.
type Wire struct {
	edge     *Endpoint
	inject   func(batch []Mmsghdr, n int)
	transmit *Transmitter

	attached  atomic.Bool
	failure   atomic.Int32 // the errno that ended it all
	again     atomic.Bool
	receiving sync.Mutex
	sending   sync.Mutex
	fd        int
	in, out   []Mmsghdr
	tally     *[TallySize]uint64
}

// NewWire makes a wire that is not attached; inject hands a received batch to the stack.
func NewWire(edge *Endpoint, transmit *Transmitter, inject func([]Mmsghdr, int)) *Wire {
	return &Wire{edge: edge, transmit: transmit, inject: inject}
}

// Attach gives the wire its socket, which must not block, an armed batch and one to send
// with, and memory to count in: frames sent, unreadable ones received, and frames that
// the kernel refused by errno.
func (w *Wire) Attach(fd int, in, out []Mmsghdr, tally *[TallySize]uint64) {
	w.receiving.Lock()
	defer w.receiving.Unlock()
	w.sending.Lock()
	defer w.sending.Unlock()
	w.fd, w.in, w.out, w.tally = fd, in, out, tally
	w.attached.Store(true)
}

// Detach returns once nobody uses the socket or the batches any more.
func (w *Wire) Detach() {
	w.attached.Store(false)
	w.receiving.Lock()
	defer w.receiving.Unlock()
	w.sending.Lock()
	defer w.sending.Unlock()
	w.in, w.out, w.tally = nil, nil, nil
}

// Attached reports whether there is a socket to use.
func (w *Wire) Attached() bool { return w.attached.Load() }

// FD is the socket, as long as it is attached.
func (w *Wire) FD() int { return w.fd }

// Receive hands the stack a batch of what waits, without waiting, and sends what comes
// of it. The error is an errno after which no frame would come either, or ErrDetached.
func (w *Wire) Receive() error {
	w.edge.queue.attend()
	err := w.receive()
	if sending := w.leave(); err == nil {
		err = sending
	}
	return err
}

// Glance is Receive where nobody else receives at this moment.
func (w *Wire) Glance() error {
	if !w.receiving.TryLock() {
		return nil
	}
	w.edge.queue.attend()
	err := w.take()
	w.receiving.Unlock()
	if sending := w.leave(); err == nil {
		err = sending
	}
	return err
}

func (w *Wire) receive() error {
	w.receiving.Lock()
	defer w.receiving.Unlock()
	return w.take()
}

// take must be called with the lock held.
func (w *Wire) take() error {
	for {
		if err := w.usable(); err != nil {
			return err
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(w.fd),
			uintptr(unsafe.Pointer(&w.in[0])), uintptr(len(w.in)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			w.inject(w.in, int(n))
			return nil
		case unix.EAGAIN:
			return nil
		case unix.EINTR:
		case unix.EINVAL:
			// A frame that struct virtio_net_hdr has no words for (SCTP or tunnel
			// GSO) is taken off the queue and reported so: packet_rcv_vnet().
			w.count(tallyUnreadable, 1)
		default:
			return w.fail(errno)
		}
	}
}

// fail keeps an errno: the kernel tells some of them once (sk_err, ENETDOWN), to whoever
// comes first, and the thread that lives of it may be another.
func (w *Wire) fail(errno unix.Errno) error {
	w.failure.Store(int32(errno))
	w.edge.queue.rouse()
	return errno
}

// usable is nil, or why there is nothing to be done.
func (w *Wire) usable() error {
	if errno := w.failure.Load(); errno != 0 {
		return unix.Errno(errno)
	}
	if !w.attached.Load() {
		return ErrDetached
	}
	return nil
}

// Attend says that this thread is about to make the stack produce frames, and sends them:
// nobody else is woken for that until the function it returns is called, which does it.
func (w *Wire) Attend() func() error {
	if !w.attached.Load() {
		return func() error { return nil }
	}
	w.edge.queue.attend()
	return w.leave
}

func (w *Wire) leave() error {
	err := w.Flush()
	w.edge.queue.leave()
	return err
}

// Flush sends all that waits, on this thread or on the one that is at it. The error is
// an errno after which no frame would be sent either, or ErrDetached.
func (w *Wire) Flush() error {
	w.again.Store(true)
	// A thread that finds the lock held leaves its frames to the holder, which looks
	// once more after letting go.
	for w.again.Load() && w.sending.TryLock() {
		w.again.Store(false)
		err := w.drain()
		w.sending.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Wire) drain() error {
	for {
		if err := w.usable(); err != nil {
			return err
		}
		n := w.transmit.Drain(w.edge, w.out)
		if n == 0 {
			return nil
		}
		if err := w.send(w.out[:n]); err != nil {
			return err
		}
	}
}

func (w *Wire) send(frames []Mmsghdr) error {
	for len(frames) > 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(w.fd),
			uintptr(unsafe.Pointer(&frames[0])), uintptr(len(frames)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			w.count(tallySent, uint64(n))
			frames = frames[n:]
			continue
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if w.writable() {
				continue
			}
		case unix.ENETDOWN, unix.ENODEV, unix.ENXIO, unix.EBADF, unix.ENOTSOCK:
			return w.fail(errno)
		}
		// The transport above sends again what matters.
		w.count(int(errno), 1)
		frames = frames[1:]
	}
	return nil
}

// writable waits for room in the socket's send buffer; false where none comes.
func (w *Wire) writable() bool {
	end := time.Now().Add(stuck)
	for {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		fds := [1]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds[:], int(left.Milliseconds())+1)
		if err == nil {
			return n > 0
		}
		if err != unix.EINTR {
			return false
		}
	}
}

func (w *Wire) count(entry int, n uint64) {
	atomic.AddUint64(&w.tally[entry&(TallySize-1)], n)
}
