package netstack

import (
	"time"

	"golang.org/x/sys/unix"
)

// watch is what a thread that moves frames polls: descriptors of its own, then its seat, by
// which frames come, then the eventfd of frames that wait to be sent.
type watch struct {
	room  [8]unix.PollFd
	own   int
	epoll int32
}

func newWatch(fds []int32, epoll, wake int) *watch {
	w := &watch{own: len(fds), epoll: int32(epoll)}
	for i, fd := range fds {
		w.room[i] = unix.PollFd{Fd: fd, Events: unix.POLLIN}
	}
	w.room[w.own] = unix.PollFd{Fd: int32(epoll), Events: unix.POLLIN}
	w.room[w.own+1] = unix.PollFd{Fd: int32(wake), Events: unix.POLLIN}
	return w
}

// poll waits until the time is over (the zero time: there is no limit). fed: frames that come
// do not end it, but it lasts no longer than a doze.
func (w *watch) poll(until time.Time, fed bool) (int, error) {
	milliseconds := -1
	if !until.IsZero() {
		// Rounded up: one that returns too early would spin through its last millisecond.
		milliseconds = int((max(0, time.Until(until)) + time.Millisecond - 1).Milliseconds())
	}
	w.room[w.own].Fd = w.epoll
	if fed {
		w.room[w.own].Fd = -1
		if milliseconds < 0 || milliseconds > doze {
			milliseconds = doze
		}
	}
	n, err := unix.Poll(w.room[:w.own+2], milliseconds)
	if err == unix.EINTR {
		return 0, ErrInterrupted
	}
	return n, err
}

func (w *watch) frames() bool { return w.room[w.own].Revents != 0 }

func (w *watch) woken() bool { return w.room[w.own+1].Revents != 0 }

// ready is a bit for each of the thread's own descriptors.
func (w *watch) ready() (bits uint64) {
	for i := range w.own {
		if w.room[i].Revents != 0 {
			bits |= 1 << i
		}
	}
	return bits
}

func over(until time.Time) bool { return !until.IsZero() && !time.Now().Before(until) }
