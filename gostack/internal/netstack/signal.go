package netstack

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// signal is a level on an eventfd: readable while the level is up. Made only when
// somebody asks for its descriptor, so that a connection nobody waits on costs none.
type signal struct {
	mu      sync.Mutex
	fd      int
	made    bool
	show    func(up bool) // another descriptor that shows the same level, where there is one
	up      bool
	writing int // threads that are about to write the eventfd
	closed  bool
}

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// descriptor makes the eventfd at the first call; ready is the level to begin with.
//
// ready is never called with the lock held, here or in settle: it takes gVisor's
// locks, and gVisor calls raise with some of them held.
func (s *signal) descriptor(ready func() bool) (int, error) {
	fd, fresh, err := s.make()
	if fresh && ready() {
		s.raise()
	}
	return fd, err
}

func (s *signal) make() (fd int, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return -1, false, unix.EBADF
	}
	if s.made {
		return s.fd, false, nil
	}
	fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, false, os.NewSyscallError("eventfd2", err)
	}
	s.fd, s.made = fd, true
	if s.up {
		_, _ = unix.Write(s.fd, one)
	}
	return fd, true, nil
}

// showBy has the level shown by another descriptor as well, which is down now.
func (s *signal) showBy(show func(up bool), ready func() bool) {
	s.mu.Lock()
	if s.show = show; s.up {
		show(true)
	}
	s.mu.Unlock()
	if ready() {
		s.raise()
	}
}

func (s *signal) raise() {
	if s.begin() {
		// Not with the lock held: who is woken runs at once, perhaps in this thread's stead on its
		// processor, and wants the lock.
		_, _ = unix.Write(s.fd, one)
		s.written()
	}
}

// begin is the part of raise under the lock; true where the eventfd is still to be written.
func (s *signal) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up || s.closed || !s.made && s.show == nil {
		return false
	}
	s.up = true
	if s.show != nil {
		s.show(true)
	}
	if s.made {
		s.writing++
	}
	return s.made
}

// written takes down again what was lowered before it was up, and closes what was closed meanwhile.
func (s *signal) written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
	switch {
	case s.writing > 0:
	case s.closed:
		_ = unix.Close(s.fd)
	case !s.up:
		s.drain()
	}
}

func (s *signal) drain() {
	var b [8]byte
	_, _ = unix.Read(s.fd, b[:])
}

// settle takes the level down unless ready says otherwise. It asks once more after
// the level went down: an event in between found it still up, and would be lost.
func (s *signal) settle(ready func() bool) {
	if !s.isUp() || ready() {
		return
	}
	s.lower()
	if ready() {
		s.raise()
	}
}

func (s *signal) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up && !s.closed
}

func (s *signal) lower() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up || s.closed {
		return
	}
	s.up = false
	if s.made && s.writing == 0 {
		s.drain()
	}
	if s.show != nil {
		s.show(false)
	}
}

func (s *signal) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.show != nil && !s.up && !s.closed {
		s.show(true)
	}
	if s.made && !s.closed {
		// Whoever polls it now wakes up, and finds the endpoint closed.
		_, _ = unix.Write(s.fd, one)
		if s.writing == 0 {
			_ = unix.Close(s.fd)
		}
	}
	s.closed = true
}
