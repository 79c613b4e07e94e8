package netstack

import (
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// bridgeBuffer is what one read moves at most: a super-frame.
const bridgeBuffer = 64 << 10

var bridgeBuffers = sync.Pool{New: func() any { b := make([]byte, bridgeBuffer); return &b }}

// bridge carries bytes between a connection and one end of a stream socketpair, the
// other end of which a program holds as if it were the connection.
//
// A socketpair has no RST. But one end that is closed with bytes unread in it gives the
// other end ECONNRESET, once all that was sent has been read (net/unix/af_unix.c,
// unix_release_sock). So the last byte that the program sent stays in the queue until the
// end: left there, the program sees a reset; read, it sees the end of the stream.
type bridge struct {
	e         *Endpoint
	file      *os.File
	raw       syscall.RawConn
	readable  chan struct{}
	writable  chan struct{}
	over      chan struct{} // closed when nothing is to be moved any more
	unheard   chan struct{} // closed when the peer said something that nobody will read
	once      sync.Once
	reset     atomic.Bool // the program is to see ECONNRESET
	noReader  bool        // the program has shut its read side, and what comes is thrown away
	noMore    bool        // the program has shut its write side
	halves    atomic.Int32
	finished  sync.WaitGroup
	unwatched func()
}

// Bridge moves bytes between the connection and fd, one end of a socketpair in which a
// byte waits that is not the program's. On success fd is the bridge's.
func (e *Endpoint) Bridge(fd int) tcpip.Error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.tcp || e.closed || e.bridge != nil || !e.open {
		return &tcpip.ErrInvalidEndpointState{}
	}
	if unix.SetNonblock(fd, true) != nil {
		return &tcpip.ErrInvalidOptionValue{}
	}
	// Urgent data (MSG_OOB) is counted as waiting, and would otherwise not be read with the rest.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	file := os.NewFile(uintptr(fd), "bridge")
	raw, err := file.SyscallConn()
	if err != nil {
		return &tcpip.ErrInvalidOptionValue{}
	}
	b := &bridge{e: e, file: file, raw: raw, over: make(chan struct{}), unheard: make(chan struct{})}
	reading, readable := waiter.NewChannelEntry(readEvents)
	writing, writable := waiter.NewChannelEntry(writeEvents)
	b.readable, b.writable = readable, writable
	e.queue.EventRegister(&reading)
	e.queue.EventRegister(&writing)
	b.unwatched = func() {
		e.queue.EventUnregister(&reading)
		e.queue.EventUnregister(&writing)
	}
	e.bridge = b
	e.bridged.Store(true)
	// Nobody is to wait for these any more; who does wakes up and finds so.
	e.closeSignals()
	b.finished.Add(2)
	go b.inward()
	go b.outward()
	go b.finish()
	return nil
}

// Bridged is 1 while a bridge moves bytes, 2 while it moves the last ones of a program
// that has closed its end, and 0 otherwise.
func (e *Endpoint) Bridged() int {
	if !e.bridged.Load() {
		return 0
	}
	e.mu.Lock()
	b := e.bridge
	e.mu.Unlock()
	if b.programs() >= gone {
		return 2
	}
	return 1
}

func (b *bridge) end() {
	b.once.Do(func() {
		close(b.over)
		_ = b.file.SetDeadline(time.Unix(1, 0)) // wakes who waits for the program
	})
}

// halfDone is called by each direction that has come to its end.
func (b *bridge) halfDone() {
	if b.halves.Add(1) == 2 {
		b.end()
	}
}

// fail ends the bridge with what the program sees as a reset.
func (b *bridge) fail() {
	b.reset.Store(true)
	b.end()
}

func (b *bridge) finish() {
	b.finished.Wait()
	b.end()
	if b.isUnheard() || b.hasUnread() {
		b.e.Abort() // by now what the program sent is on its way
	}
	b.unwatched()
	_ = b.raw.Control(func(fd uintptr) {
		if !b.reset.Load() {
			takeLast(int(fd))
			// A forked child may hold a copy of this descriptor: close alone would tell nothing.
			_ = unix.Shutdown(int(fd), unix.SHUT_RDWR)
		}
	})
	_ = b.file.Close()
	b.e.bridged.Store(false)
	b.e.stack.bridgeEnded()
}

// inward moves what the peer sends to the program.
func (b *bridge) inward() {
	defer b.finished.Done()
	for {
		select {
		case <-b.over:
			return
		default:
		}
		switch n, err := b.receive(); {
		case wouldBlock(err):
			select {
			case <-b.readable:
			case <-b.over:
				return
			}
		case err != nil:
			b.fail()
			return
		case n == 0 && (b.reset.Load() || b.isUnheard()):
			// Of an endpoint that was closed meanwhile, or of a program: no stream's end.
			return
		case n == 0:
			_ = b.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
			b.halfDone()
			return
		}
	}
}

// receive moves one read's worth; 0 without error is the end of the stream.
func (b *bridge) receive() (int, tcpip.Error) {
	buffer := bridgeBuffers.Get().(*[]byte)
	defer bridgeBuffers.Put(buffer)
	n, _, _, err := b.e.Recv(*buffer)
	if err != nil || n == 0 || b.noReader {
		return n, err
	}
	if b.give((*buffer)[:n]) {
		return n, nil
	}
	if b.programs() >= gone {
		// Nobody will ever read this: the peer is told so, as by a socket, but not before
		// the last words of the program.
		close(b.unheard)
		return 0, nil
	}
	b.noReader = true
	return n, nil
}

// give hands bytes to the program; false where it takes none any more.
func (b *bridge) give(p []byte) bool {
	ok := true
	err := b.raw.Write(func(fd uintptr) bool {
		for len(p) > 0 {
			n, err := unix.SendmsgN(int(fd), p, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if err == unix.EAGAIN {
				return false
			}
			if err != nil && err != unix.EINTR {
				ok = false
				return true
			}
			p = p[max(n, 0):]
		}
		return true
	})
	return ok && err == nil
}

// programs is how far the program is done.
func (b *bridge) programs() ending {
	end := stays
	_ = b.raw.Control(func(fd uintptr) { _, end = b.look(int(fd)) })
	return end
}

// look is the socketpair's, for a program that may want a RST when it closes (SO_LINGER).
func (b *bridge) look(fd int) (fresh int, end ending) {
	fresh, end = look(fd)
	if end == gone && b.e.resetsOnClose() {
		end = unreadIn
	}
	return fresh, end
}

// hasUnread is whether the program has closed its end without reading all that the peer has sent:
// the peer gets a RST then, as from a socket (RFC 2525, 2.17).
func (b *bridge) hasUnread() bool {
	unread, err := b.e.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	return err == nil && unread > 0 && !b.reset.Load()
}

func (b *bridge) isUnheard() bool {
	select {
	case <-b.unheard:
		return true
	default:
		return false
	}
}

// outward moves what the program sends to the peer.
func (b *bridge) outward() {
	defer b.finished.Done()
	for {
		end, err := b.send()
		switch {
		case err != nil:
			b.fail()
			return
		case end == unreadIn:
			b.e.Abort()
			b.end()
			return
		case end == gone:
			_ = b.e.Shutdown(2)
			b.end()
			return
		case end == ended:
			_ = b.e.Shutdown(2)
			b.noMore = true
			b.halfDone()
		case end == stopped:
			return
		}
	}
}

// send moves one read's worth from the program, and says how far the program is done.
func (b *bridge) send() (ending, tcpip.Error) {
	buffer, p, end := b.take()
	if buffer == nil {
		return end, nil
	}
	defer bridgeBuffers.Put(buffer)
	for len(p) > 0 {
		n, err := b.e.Send(p, netip.AddrPort{})
		if err != nil && !wouldBlock(err) {
			return end, err
		}
		if p = p[n:]; len(p) == 0 {
			break
		}
		if b.programs() == unreadIn {
			return unreadIn, nil // a socket keeps nothing back for a peer that it resets
		}
		select {
		case <-b.writable:
		case <-b.over:
			return stopped, nil
		case <-b.unheard:
			return unreadIn, nil
		}
	}
	return end, nil
}

// take waits for bytes of the program's, or for the next step of its end. The buffer is
// nil where there are no bytes, and else to be put back.
func (b *bridge) take() (buffer *[]byte, p []byte, end ending) {
	err := b.raw.Read(func(fd uintptr) bool {
		fresh := 0
		if fresh, end = b.look(int(fd)); fresh > 0 {
			// Not before: an idle bridge holds no buffer.
			buffer = bridgeBuffers.Get().(*[]byte)
			switch p = pull(int(fd), *buffer, fresh); {
			case len(p) == 0:
				bridgeBuffers.Put(buffer)
				buffer = nil
			case len(p) < fresh:
				end = stays // it comes after these bytes
			}
		}
		return len(p) > 0 || end > ended || end == ended && !b.noMore
	})
	if err != nil {
		end = stopped
	}
	return buffer, p, end
}
