package netstack

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netkat/gostack/internal/link"
)

// resided is a stack with a resident thread, and the other end of its wire.
func resided(t *testing.T) (s *Stack, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = New(1500, nil, true); err != nil {
		t.Fatal(err)
	}
	in, out := entries(8, link.ReceiveIovecs), entries(4, link.TransmitIovecs)
	if err := s.Attach(fds[0], in, out, new([link.TallySize]uint64)); err != nil {
		t.Fatal(err)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		if _, err := s.Reside([]int32{int32(stop)}, time.Time{}); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		_, _ = unix.Write(stop, one)
		<-left
		s.Close()
		for _, fd := range []int{fds[0], fds[1], stop} {
			_ = unix.Close(fd)
		}
	})
	return s, fds[1]
}

func entries(n, iovecs int) []link.Mmsghdr {
	batch := make([]link.Mmsghdr, n)
	for i := range batch {
		batch[i].Hdr.Iov = &make([]unix.Iovec, iovecs)[0]
	}
	return batch
}

func (p *pump) lulled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lull.on
}

// connectAndHear is what begins a lull: a connection is begun, and a frame wakes the resident.
func connectAndHear(t *testing.T, s *Stack, far int) {
	t.Helper()
	s.pump.ask(func() {})
	if _, err := unix.Write(far, make([]byte, 40)); err != nil {
		t.Fatal(err)
	}
}

func TestALullBeginsWithConnectionsAndEndsWithoutThem(t *testing.T) {
	s, far := resided(t)
	for range 3 {
		eventually(t, func() bool {
			connectAndHear(t, s, far)
			return s.pump.lulled()
		})
		eventually(t, func() bool { return !s.pump.lulled() })
	}
	before := s.Link.Counters.FramesIn.Load()
	if _, err := unix.Write(far, make([]byte, 40)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return s.Link.Counters.FramesIn.Load() > before })
}

func TestWhoEngagesEndsALull(t *testing.T) {
	s, far := resided(t)
	eventually(t, func() bool {
		connectAndHear(t, s, far)
		return s.pump.lulled()
	})
	s.pump.engage()
	for range 50 {
		if s.pump.lulled() {
			t.Fatal("a lull while somebody waits")
		}
		connectAndHear(t, s, far)
		time.Sleep(100 * time.Microsecond)
	}
	s.pump.disengage()
	eventually(t, func() bool {
		connectAndHear(t, s, far)
		return s.pump.lulled()
	})
}

func TestAnEndpointIsEngagedUntilItsEnd(t *testing.T) {
	j := join(t, true, 0)
	client, _ := j.pair()
	engaged := func() int32 { return j.a.pump.lull.engaged.Load() }
	before := engaged()
	client.Send([]byte("x"), keyRemote(client.key))
	client.engage()
	if n := engaged(); n > before+1 {
		t.Fatalf("%d more are engaged", n-before)
	}
	client.Shutdown(3)
	client.engage()
	client.Close()
	client.engage()
	client.Close()
	if n := engaged(); n != 0 {
		t.Fatalf("%d are engaged", n)
	}
}
