package netstack

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

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
	defer pump.leave(s)
	for {
		n, err := e.readOn(b)
		if n > 0 || !wouldBlock(err) {
			return n, err
		}
		if !e.moved(e.canRead) && !e.await(s, e.ReadableFD, until) {
			return 0, err
		}
	}
}

// readOn reads as long as there is more, and nobody else does meanwhile: what one call gives
// is one piece of the stream.
func (e *Endpoint) readOn(b []byte) (got int, _ tcpip.Error) {
	e.reading.Lock()
	defer e.reading.Unlock()
	for {
		n, _, _, err := e.recv(b[got:])
		got += n
		if n == 0 || got == len(b) || !e.moved(e.canRead) {
			return told(got, err)
		}
	}
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
