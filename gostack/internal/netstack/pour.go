package netstack

import (
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// Pour writes b as Send does, and goes on as there is room, until all is taken or its time
// is over. It receives meanwhile, in the resident's stead: what the peer acknowledges makes
// the room, and no other thread need be woken for it. 0 bytes are tcpip.ErrWouldBlock.
func (e *Endpoint) Pour(b []byte, patience time.Duration) (int, tcpip.Error) {
	pump := e.stack.pump
	s, err := pump.sit()
	if err != nil {
		return e.Send(b, netip.AddrPort{})
	}
	defer pump.leave(s)
	until := time.Now().Add(patience)
	taken := 0
	for {
		n, err := e.Send(b[taken:], netip.AddrPort{})
		taken += n
		if taken == len(b) || err != nil && !wouldBlock(err) {
			return told(taken, err)
		}
		if !e.roomBy(s, until) {
			return told(taken, &tcpip.ErrWouldBlock{})
		}
	}
}

// roomBy waits for room until its time is over; false also where the wait was cut short.
func (e *Endpoint) roomBy(s *seat, until time.Time) bool {
	if e.stack.wire.Glance() != nil {
		return false
	}
	if e.canWrite() {
		return time.Now().Before(until)
	}
	fd, err := e.WritableFD()
	if err != nil {
		return false
	}
	bits, err := e.stack.pump.move(s, []int32{int32(fd)}, until, false)
	return err == nil && bits != 0
}

// told is n bytes, or why there are none: an error after bytes comes again at the next call.
func told(n int, err tcpip.Error) (int, tcpip.Error) {
	if n > 0 {
		return n, nil
	}
	return 0, err
}
