package netstack

import "golang.org/x/sys/unix"

// ending is how far a program is done with its end of a socketpair, seen from the other.
type ending int

const (
	stays    ending = iota
	ended           // it has shut its write side
	gone            // it has closed
	unreadIn        // it has closed and left bytes unread: a socket sends RST then (RFC 2525, 2.17)
	stopped         // nobody looks any more
)

// look tells how many bytes wait behind the one that stays, and how far the program is
// done. The ending is asked for first: after it no bytes can follow.
func look(fd int) (fresh int, end ending) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	_, _ = unix.Poll(poll, 0)
	events := poll[0].Revents
	waiting, _ := unix.IoctlGetInt(fd, unix.TIOCINQ)
	switch {
	case events&unix.POLLHUP != 0 && events&unix.POLLERR != 0:
		end = unreadIn
	case events&unix.POLLHUP != 0:
		end = gone
	case events&unix.POLLRDHUP != 0:
		end = ended
	}
	return max(waiting-1, 0), end
}

// pull reads what is fresh, as much as fits. The newest byte of it stays in the queue, in
// place of the one that stayed until now. Nothing is what cannot be read.
func pull(fd int, buffer []byte, fresh int) []byte {
	fresh = min(fresh, len(buffer)-1)
	for got := 0; got < fresh; {
		n, _, err := unix.Recvfrom(fd, buffer[got:fresh], unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil
		}
		got += n
	}
	n, _, err := unix.Recvfrom(fd, buffer[fresh:fresh+1], unix.MSG_DONTWAIT|unix.MSG_PEEK)
	if err != nil || n == 0 {
		return nil
	}
	return buffer[1 : fresh+1]
}

// takeLast empties the queue, so that closing is not a reset.
func takeLast(fd int) {
	var last [64]byte
	for {
		if n, _, err := unix.Recvfrom(fd, last[:], unix.MSG_DONTWAIT); n <= 0 || err != nil {
			return
		}
	}
}
