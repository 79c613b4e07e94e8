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
	defer pump.leave(s, false)
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

// Gather reads as Recv does, waits for the first bytes until its time is over, and then
// goes on as long as more has come and there is room in b. A stream's end or its error after
// bytes comes again at the next call.
func (e *Endpoint) Gather(b []byte, patience time.Duration) (int, tcpip.Error) {
	pump := e.stack.pump
	s, err := pump.sit()
	if err != nil {
		n, _, _, err := e.Recv(b)
		return n, err
	}
	until := time.Now().Add(patience)
	read, enough, done := e.reader(b)
	defer func() { pump.leave(s, done()) }()
	got := 0
	for {
		n, err := read(got)
		got += n
		if err == nil && (n == 0 || got >= enough) || err != nil && !wouldBlock(err) {
			return told(got, err)
		}
		if !e.moved(e.canRead) && (got > 0 || !e.await(s, e.ReadableFD, until)) {
			return told(got, &tcpip.ErrWouldBlock{})
		}
	}
}

// roomBy waits for room until its time is over; false also where the wait was cut short.
func (e *Endpoint) roomBy(s *seat, until time.Time) bool {
	if e.moved(e.canWrite) {
		return time.Now().Before(until)
	}
	return e.await(s, e.WritableFD, until)
}

// moved receives what has come, and says whether there is something to do then.
func (e *Endpoint) moved(ready func() bool) bool {
	return ready() || e.stack.wire.Glance() == nil && ready()
}

// await moves frames until the descriptor polls readable; false where it does not.
func (e *Endpoint) await(s *seat, descriptor func() (int, error), until time.Time) bool {
	fd, err := descriptor()
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
