package netstack

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// readiness is one descriptor that polls as the connection's own socket would: readable
// while a read would not wait, writable while a write would not. An eventfd cannot be
// neither; one end of a socketpair can, by what waits in it and by what the other end
// has not read yet (net/unix/af_unix.c, unix_writable: a quarter of SO_SNDBUF).
type readiness struct {
	mu        sync.Mutex
	near, far int
	made      bool
	closed    bool
}

// fill is more than a quarter of the smallest SO_SNDBUF (net/core/sock.c,
// SOCK_MIN_SNDBUF: some 4,600 bytes), and fits into it.
var fill [2000]byte

// descriptor makes the pair at the first call: neither readable nor writable.
func (r *readiness) descriptor() (fd int, fresh bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return -1, false, unix.EBADF
	}
	if r.made {
		return r.near, false, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, false, os.NewSyscallError("socketpair", err)
	}
	r.near, r.far, r.made = pair[0], pair[1], true
	_ = unix.SetsockoptInt(r.near, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
	r.showWritable(false)
	return r.near, true, nil
}

func (r *readiness) showReadable(up bool) {
	if up {
		_, _ = unix.Write(r.far, one[:1])
	} else {
		var b [1]byte
		_, _ = unix.Read(r.near, b[:])
	}
}

func (r *readiness) showWritable(up bool) {
	if up {
		var b [len(fill)]byte
		_, _ = unix.Read(r.far, b[:])
	} else {
		_, _ = unix.Write(r.near, fill[:])
	}
}

func (r *readiness) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made && !r.closed {
		_, _ = unix.Close(r.near), unix.Close(r.far)
	}
	r.closed = true
}
