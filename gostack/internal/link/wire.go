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

// firstRoom is how many frames are received at once to begin with; twice as many each time
// that as many came.
const firstRoom = 4

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
	inject   func(deliver func())
	receiver *Receiver
	transmit *Transmitter

	attached  atomic.Bool
	failure   atomic.Int32 // the errno that ended it all
	again     atomic.Bool
	receiving sync.Mutex
	injecting sync.Mutex // taken while receiving is held: batches keep their order
	half      int        // of the batch to receive with, that is to be filled next
	room      int        // entries of each half that are armed
	sending   sync.Mutex
	fd        int
	in, out   []Mmsghdr
	tally     *[TallySize]uint64
}

// NewWire makes a wire that is not attached; inject is given a function that hands what was
// received to the stack, and has it do the work of that.
func NewWire(edge *Endpoint, receiver *Receiver, transmit *Transmitter, inject func(deliver func())) *Wire {
	return &Wire{edge: edge, receiver: receiver, transmit: transmit, inject: inject}
}

// Attach gives the wire its socket, which must not block, a batch of two entries at least to
// receive with, of which half is filled at a time, one to send with, and memory to count in:
// frames sent, unreadable ones received, and frames that the kernel refused by errno.
func (w *Wire) Attach(fd int, in, out []Mmsghdr, tally *[TallySize]uint64) {
	w.receiving.Lock()
	defer w.receiving.Unlock()
	w.injecting.Lock()
	defer w.injecting.Unlock()
	w.sending.Lock()
	defer w.sending.Unlock()
	w.fd, w.in, w.out, w.tally = fd, in, out, tally
	w.receiver.Adopt(w.edge, in)
	w.half, w.room = 0, 0
	w.extend(firstRoom)
	w.attached.Store(true)
}

// Detach returns once nobody uses the socket or the batches any more.
func (w *Wire) Detach() {
	w.attached.Store(false)
	w.receiving.Lock()
	defer w.receiving.Unlock()
	w.injecting.Lock()
	defer w.injecting.Unlock()
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
	if sending := w.leave(); err == nil {
		err = sending
	}
	return err
}

func (w *Wire) receive() error {
	w.receiving.Lock()
	return w.take()
}

// take must be called with the lock held, and lets go of it: while what came is handed to
// the stack, another thread fills the other half.
func (w *Wire) take() error {
	first, n, err := w.fetch()
	if n == 0 {
		w.receiving.Unlock()
		return err
	}
	w.injecting.Lock()
	w.receiving.Unlock()
	defer w.injecting.Unlock()
	w.inject(func() { w.receiver.Inject(w.in, first, n) })
	return nil
}

// fetch fills the half whose turn it is: where in the batch it begins, and how many came.
func (w *Wire) fetch() (first, n int, err error) {
	for {
		if err := w.usable(); err != nil {
			return 0, 0, err
		}
		first = w.half * (len(w.in) / 2)
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(w.fd),
			uintptr(unsafe.Pointer(&w.in[first])), uintptr(w.room), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			w.half = 1 - w.half
			if int(n) == w.room {
				w.extend(2 * w.room)
			}
			return first, int(n), nil
		case unix.EAGAIN:
			return 0, 0, nil
		case unix.EINTR:
		case unix.EINVAL:
			// A frame that struct virtio_net_hdr has no words for (SCTP or tunnel
			// GSO) is taken off the queue and reported so: packet_rcv_vnet().
			w.count(tallyUnreadable, 1)
		case unix.ENETDOWN:
			// The interface went down. The kernel reports it once (net/packet/af_packet.c,
			// packet_notifier), and the socket works again when the interface is up.
		default:
			return 0, 0, w.fail(errno)
		}
	}
}

// extend arms so many entries of each half, or all: a connection that says little has no use
// for 8 MiB.
func (w *Wire) extend(room int) {
	half := len(w.in) / 2
	if room = min(room, half); room > w.room {
		w.receiver.Extend(w.in, 0, room)
		w.receiver.Extend(w.in, half, room)
		w.room = room
	}
}

// fail keeps an errno after which the socket is of no use, for every thread that uses it.
func (w *Wire) fail(errno unix.Errno) error {
	w.failure.Store(int32(errno))
	w.edge.queue.rouse()
	return errno
}

// Failure is the error that ended the wire, or nil.
func (w *Wire) Failure() error {
	if errno := w.failure.Load(); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// usable is nil, or why there is nothing to be done.
func (w *Wire) usable() error {
	if err := w.Failure(); err != nil {
		return err
	}
	if !w.attached.Load() {
		return ErrDetached
	}
	return nil
}

// Attend is for a thread that is about to make the stack produce frames. No other thread is woken
// for them. The function that it returns sends them: they have been handed to the kernel when it
// returns.
func (w *Wire) Attend() func() error {
	if !w.attached.Load() {
		return func() error { return nil }
	}
	w.edge.queue.attend()
	return func() error {
		err := w.Flush()
		w.edge.queue.leave()
		return err
	}
}

func (w *Wire) leave() error {
	err := w.flush()
	w.edge.queue.leave()
	return err
}

// Flush sends every frame that is queued when it is called. Frames that another thread is sending
// have been handed to the kernel when it returns. The error is an errno after which no frame would
// be sent either, or ErrDetached.
func (w *Wire) Flush() error {
	w.sending.Lock()
	err := w.drain()
	w.sending.Unlock()
	if err != nil {
		return err
	}
	return w.flush() // for threads that found the lock held
}

// flush is Flush, but leaves frames to another thread that is sending.
func (w *Wire) flush() error {
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
		n := w.transmit.Drain(w.edge, w.out, w.edge.gso && kernelCutsDatagrams())
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
		case unix.ENODEV, unix.ENXIO, unix.EBADF, unix.ENOTSOCK:
			return w.fail(errno)
		case unix.EACCES, unix.EPERM, unix.ENOSYS:
			// A security module or a seccomp filter denies the system call: no frame will leave.
			w.count(int(errno), 1)
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
