package netstack

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netkat/gostack/internal/link"
)

// residing is a stack on a socketpair, with its resident, and the other end.
func residing(t *testing.T) (*Stack, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(t, macA, addressA, macB, addressB, true)
	tally := new([link.TallySize]uint64)
	if err := s.Attach(fds[0], newBatch(link.ReceiveIovecs), newBatch(link.TransmitIovecs), tally); err != nil {
		t.Fatal(err)
	}
	over := make(chan error)
	go func() {
		err := ErrInterrupted // Go's scheduler sends signals; a pump's thread calls again
		for err == ErrInterrupted {
			_, err = s.Reside([]int32{int32(stop)}, time.Time{})
		}
		over <- err
	}()
	t.Cleanup(func() {
		_, _ = unix.Write(stop, one)
		if err := <-over; err != nil {
			t.Error(err)
		}
		s.Close()
		for _, fd := range []int{fds[0], fds[1], stop} {
			_ = unix.Close(fd)
		}
	})
	return s, fds[1]
}

func (s *Stack) cameIn(t *testing.T, peer int) {
	t.Helper()
	if _, err := unix.Write(peer, make([]byte, link.VnetLen+60)); err != nil {
		t.Fatal(err)
	}
}

func TestAFedResidentIsNotWokenByWhatComes(t *testing.T) {
	s, peer := residing(t)
	frames := func() uint64 { return s.Link.Counters.FramesIn.Load() }
	s.cameIn(t, peer)
	eventually(t, func() bool { return frames() == 1 })
	s.pump.feed()
	s.Link.Rouse() // it is in a wait that began before
	time.Sleep(2 * time.Millisecond)
	before := frames()
	s.cameIn(t, peer)
	time.Sleep(2 * time.Millisecond)
	if frames() != before && s.pump.fed.Load() {
		t.Error("a frame woke it")
	}
	eventually(t, func() bool { return frames() == before+1 }) // nobody fed it for long
	if s.pump.fed.Load() {
		t.Error("it is as before then")
	}
	s.cameIn(t, peer)
	eventually(t, func() bool { return frames() == before+2 })
}

func TestAFedResidentLooksWhenItIsWoken(t *testing.T) {
	s, peer := residing(t)
	for n := range uint64(50) {
		s.pump.feed()
		s.cameIn(t, peer)
		if n%2 == 0 {
			s.pump.pause()
		} else {
			s.Link.Rouse()
		}
		eventually(t, func() bool { return s.Link.Counters.FramesIn.Load() == n+1 })
	}
}

func TestWhoWaitsBesideAFedResidentDoesNotReceive(t *testing.T) {
	s, _ := residing(t)
	s.pump.feed()
	seat, err := s.pump.sit()
	if err != nil {
		t.Fatal(err)
	}
	if seat.armed || s.pump.leader != nil || !s.pump.resident.armed {
		t.Error("the resident receives while it is fed")
	}
	s.pump.leave(seat)
	s.pump.pause()
	if seat, err = s.pump.sit(); err != nil {
		t.Fatal(err)
	}
	if !seat.armed || s.pump.resident.armed {
		t.Error("who waits receives")
	}
	s.pump.feed()
	if seat.armed || !s.pump.resident.armed {
		t.Error("what is fed is the resident's from then on")
	}
	s.pump.leave(seat)
	if !s.pump.resident.armed {
		t.Error("nobody receives")
	}
}
