package netstack

import (
	"sync"

	"golang.org/x/sys/unix"
)

// signal is a level on an eventfd: readable while the level is up. Made only when
// somebody asks for its descriptor, so that a connection nobody waits on costs none.
type signal struct {
	mu     sync.Mutex
	fd     int
	made   bool
	show   func(up bool) // another descriptor that shows the same level, where there is one
	up     bool
	closed bool
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
		return -1, false, err
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up || s.closed || !s.made && s.show == nil {
		return
	}
	s.up = true
	if s.made {
		_, _ = unix.Write(s.fd, one)
	}
	if s.show != nil {
		s.show(true)
	}
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
	if s.made {
		var b [8]byte
		_, _ = unix.Read(s.fd, b[:])
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
		_ = unix.Close(s.fd)
	}
	s.closed = true
}
