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
	up     bool
	closed bool
}

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// descriptor makes the eventfd at the first call; ready is the level to begin with.
func (s *signal) descriptor(ready func() bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return -1, unix.EBADF
	}
	if !s.made {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return -1, err
		}
		s.fd, s.made = fd, true
		if ready() {
			s.raiseLocked()
		}
	}
	return s.fd, nil
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raiseLocked()
}

func (s *signal) raiseLocked() {
	if s.made && !s.up && !s.closed {
		s.up = true
		_, _ = unix.Write(s.fd, one)
	}
}

// settle takes the level down unless ready says otherwise. The question is asked
// after the level went down, so an event in between raises it again and none is lost.
func (s *signal) settle(ready func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.made || !s.up || s.closed {
		return
	}
	if ready() {
		return
	}
	var b [8]byte
	_, _ = unix.Read(s.fd, b[:])
	s.up = false
	if ready() {
		s.raiseLocked()
	}
}

func (s *signal) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made && !s.closed {
		// Whoever polls it now wakes up, and finds the endpoint closed.
		_, _ = unix.Write(s.fd, one)
		_ = unix.Close(s.fd)
	}
	s.closed = true
}
