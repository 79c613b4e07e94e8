package netstack

import (
	"math/rand"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"

	"netkat/gostack/internal/link"
)

const (
	batchSize = 64
	patience  = 20 * time.Second
)

var (
	addressA = netip.MustParseAddr("10.9.0.1")
	addressB = netip.MustParseAddr("10.9.0.2")
	macA     = []byte{2, 0, 0, 0, 0, 1}
	macB     = []byte{2, 0, 0, 0, 0, 2}
)

// joined is two stacks and the goroutines that carry frames between them, through the
// same batches that recvmmsg and sendmmsg would use.
type joined struct {
	t    *testing.T
	a, b *Stack
	stop int
	wg   sync.WaitGroup
}

func join(t *testing.T, gso bool, loss float64) *joined {
	t.Helper()
	before := runtime.NumGoroutine()
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	j := &joined{t: t, stop: stop}
	j.a = newStack(t, macA, addressA, macB, addressB, gso)
	j.b = newStack(t, macB, addressB, macA, addressA, gso)
	j.wg.Add(2)
	go j.carry(j.a, j.b, loss, 1)
	go j.carry(j.b, j.a, loss, 2)
	t.Cleanup(func() {
		_, _ = unix.Write(stop, one)
		j.wg.Wait()
		_ = unix.Close(stop)
		j.a.Close()
		j.b.Close()
		noMoreGoroutinesThan(t, before)
	})
	return j
}

func newStack(t *testing.T, mac []byte, own netip.Addr, peerMAC []byte, peer netip.Addr, gso bool) *Stack {
	t.Helper()
	s, err := New(1500, mac, gso)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []tcpip.Error{
		s.AddAddress(own, false),
		s.AddNeighbor(peer, peerMAC),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.AddRoute(netip.PrefixFrom(peer, 32), netip.Addr{})
	return s
}

func noMoreGoroutinesThan(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			all := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, before it were %d\n%s", runtime.NumGoroutine(), before, all[:runtime.Stack(all, true)])
		}
	}
}

func newBatch(iovecs int) []link.Mmsghdr {
	batch := make([]link.Mmsghdr, batchSize)
	for i := range batch {
		all := make([]unix.Iovec, iovecs)
		batch[i].Hdr.Iov = &all[0]
		batch[i].Hdr.SetIovlen(iovecs)
	}
	return batch
}

// carry moves frames one way until told to stop.
func (j *joined) carry(from, to *Stack, loss float64, seed int64) {
	defer j.wg.Done()
	random := rand.New(rand.NewSource(seed))
	out, in := newBatch(link.TransmitIovecs), newBatch(link.ReceiveIovecs)
	to.Rx.Arm(to.Link, in)
	// Of its own, since a test may close the stack while this runs.
	wake, err := unix.Dup(from.Link.WakeFD())
	if err != nil {
		j.t.Error(err)
		return
	}
	defer unix.Close(wake)
	wait := []unix.PollFd{
		{Fd: int32(wake), Events: unix.POLLIN},
		{Fd: int32(j.stop), Events: unix.POLLIN},
	}
	for {
		n := from.Tx.Drain(from.Link, out, false)
		kept := 0
		for i := range n {
			if random.Float64() >= loss {
				copyFrame(&in[kept], &out[i])
				kept++
			}
		}
		to.Rx.Inject(in, 0, kept)
		if n > 0 {
			continue
		}
		if _, err := unix.Poll(wait, -1); err != nil && err != unix.EINTR {
			j.t.Error(err)
			return
		}
		if wait[1].Revents != 0 {
			return
		}
		var count [8]byte
		if wait[0].Revents != 0 {
			_, _ = unix.Read(wake, count[:])
		}
	}
}

// await polls a descriptor as Python would.
func await(t *testing.T, descriptor func() (int, error)) {
	t.Helper()
	fd, err := descriptor()
	if err != nil {
		t.Fatal(err)
	}
	wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(wait, int(patience.Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			t.Fatal(err)
		case n == 0:
			t.Fatal("nobody woke the one who waits")
		default:
			return
		}
	}
}

func (j *joined) listen(port uint16) *Endpoint {
	j.t.Helper()
	l, err := j.b.Listen(netip.AddrPortFrom(addressB, port), 1024)
	if err != nil {
		j.t.Fatal(err)
	}
	return l
}

func (j *joined) dial(localPort, port uint16) *Endpoint {
	j.t.Helper()
	c, err := j.a.Connect(6, netip.AddrPortFrom(addressA, localPort), netip.AddrPortFrom(addressB, port), nil)
	if err != nil {
		j.t.Fatal(err)
	}
	for {
		err := c.ConnectResult()
		if err == nil {
			return c
		}
		if code := err.(interface{ String() string }).String(); !isStarted(err) {
			j.t.Fatal(code)
		}
		await(j.t, c.WritableFD)
	}
}

func isStarted(err tcpip.Error) bool {
	_, ok := err.(*tcpip.ErrConnectStarted)
	return ok
}

func (j *joined) accept(l *Endpoint) *Endpoint {
	j.t.Helper()
	for {
		c, _, err := l.Accept()
		if err == nil {
			return c
		}
		if !wouldBlock(err) {
			j.t.Fatal(err)
		}
		await(j.t, l.ReadableFD)
	}
}

func (j *joined) pair() (client, server *Endpoint) {
	j.t.Helper()
	l := j.listen(80)
	defer l.Close()
	client = j.dial(40000, 80)
	return client, j.accept(l)
}

func sendAll(t *testing.T, e *Endpoint, b []byte) {
	t.Helper()
	for len(b) > 0 {
		n, err := e.Send(b, netip.AddrPort{})
		b = b[n:]
		switch {
		case wouldBlock(err):
			await(t, e.WritableFD)
		case err != nil:
			t.Error(err)
			return
		}
	}
}

// receive reads once; nil is the end of the stream.
func receive(t *testing.T, e *Endpoint, b []byte) []byte {
	t.Helper()
	for {
		n, _, _, err := e.Recv(b)
		switch {
		case wouldBlock(err):
			await(t, e.ReadableFD)
		case err != nil:
			t.Error(err)
			return nil
		case n == 0:
			return nil
		default:
			return b[:n]
		}
	}
}
