package netstack

import (
	"math"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// setLinger keeps SO_LINGER as gVisor's socket option. gVisor acts on it in Close alone, which comes
// long after the program's close here; the program's side reads it then.
func (e *Endpoint) setLinger(value int64) tcpip.Error {
	if !e.tcp || value < 0 || value > math.MaxInt32 {
		return &tcpip.ErrInvalidOptionValue{}
	}
	linger := tcpip.LingerOption{Enabled: value > 0}
	if value > 0 {
		linger.Timeout = time.Duration(value-1) * time.Second
	}
	e.ep.SocketOptions().SetLinger(linger)
	return nil
}

func (e *Endpoint) linger() int64 {
	linger := e.ep.SocketOptions().GetLinger()
	if !linger.Enabled {
		return 0
	}
	return int64(linger.Timeout/time.Second) + 1
}

// resetsOnClose tells whether closing is to discard what is unsent, and to send a RST.
func (e *Endpoint) resetsOnClose() bool { return e.linger() == 1 }
