package netstack

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNothingNow says that a source has nothing to read at this moment.
var errNothingNow = errors.New("nothing to read now")

// source reads a regular file or a pipe, from where its offset stands.
type source struct {
	fd       int
	pipe     bool
	mayBlock bool // it cannot be read in a way that never waits
	onWait   func()
}

// newSource makes one; onWait is called before a read that may last, for a disk.
func newSource(fd int, onWait func()) (*source, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	kind := stat.Mode & unix.S_IFMT
	if kind != unix.S_IFREG && kind != unix.S_IFIFO {
		return nil, unix.EINVAL
	}
	return &source{fd: fd, pipe: kind == unix.S_IFIFO, onWait: onWait}, nil
}

// read is read(2), but a pipe that is empty is errNothingNow. From memory it reads without
// Go's scheduler being told: that would have its monitor awake all the time, which
// takes the processor from a thread that has called into the library for more than 10 ms and is
// in a system call (runtime/proc.go, retake).
func (s *source) read(b []byte) (int, error) {
	for {
		n, err := s.attempt(b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func (s *source) attempt(b []byte) (int, error) {
	if !s.mayBlock {
		n, errno := readNow(s.fd, b)
		switch errno {
		case 0:
			return n, nil
		case unix.EAGAIN:
			if s.pipe {
				return 0, errNothingNow
			}
			s.onWait()
		case unix.EOPNOTSUPP, unix.EINVAL, unix.ENOSYS:
			s.mayBlock = true
		default:
			return 0, errno
		}
	}
	if s.pipe {
		// Another process may empty it between the two, as it may before any read.
		fds := [1]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds[:], 0); n <= 0 {
			return 0, errNothingNow
		}
	}
	n, err := unix.Read(s.fd, b)
	if err == unix.EAGAIN {
		return 0, errNothingNow
	}
	return max(n, 0), err
}

// readNow is preadv2(2) with RWF_NOWAIT at the file's own offset, which not all file systems
// know: tmpfs does not.
func readNow(fd int, b []byte) (int, unix.Errno) {
	iov := unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	const here, nowait = ^uintptr(0), 8 // RWF_NOWAIT
	n, _, errno := unix.RawSyscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, here, here, nowait)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
