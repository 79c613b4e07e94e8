package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Takeover is what a connection wants to know before it takes over the flow of another.
type Takeover struct {
	Guard  GuardCount
	News   int32 // descriptor that polls readable once the way to the peer may be another
	Census int   // descriptor of conntrack's count of entries; asked where nobody need ask

	MaxSegment uint32 // OptMaxSegment, where not the stack's
}

const asked = -1

// Taken is what became of it.
type Taken struct {
	Endpoint   *Endpoint
	Outcome    tcpip.Error // as ConnectResult
	KeptBefore uint64      // the guard's count when the SYN had not been sent
	Proved     bool        // it was open, and the guard had counted since
}

// TakeOver connects anew between the two ends of a connection that rests in TIME-WAIT, and
// ends that one. RFC 1122, 4.2.2.13 allows it where the new SYN is above the old sequence
// numbers, and gVisor's rise with time (RFC 6528).
//
// All that a short connection needs is done in one call, for whoever opens thousands: each
// way from Python into Go and back, and each question to the kernel from there, costs as much
// as a segment. With ErrWouldBlock (it does not rest), ErrNetworkUnreachable (there are news), ErrPortInUse
// (conntrack would have to be asked for the flow) and ErrInvalidEndpointState (the guard does not tell) nothing has changed.
func (e *Endpoint) TakeOver(wanted Takeover) (Taken, tcpip.Error) {
	var taken Taken
	if !e.tcp || tcp.EndpointState(e.ep.State()) != tcp.StateTimeWait {
		return taken, &tcpip.ErrWouldBlock{}
	}
	if readable(wanted.News) {
		return taken, &tcpip.ErrNetworkUnreachable{}
	}
	if wanted.Census != asked && !noEntries(wanted.Census) {
		return taken, &tcpip.ErrPortInUse{}
	}
	if !wanted.Guard.read() {
		return taken, &tcpip.ErrInvalidEndpointState{}
	}
	before := *wanted.Guard.Value
	e.Close()
	next, err := e.again(wanted.MaxSegment)
	if err != nil {
		return taken, err
	}
	taken = Taken{Endpoint: next, Outcome: next.ConnectResult(), KeptBefore: before}
	if taken.Outcome == nil {
		taken.Proved = wanted.Guard.read() && *wanted.Guard.Value != before
	}
	return taken, nil
}

func (e *Endpoint) again(maxSegment uint32) (*Endpoint, tcpip.Error) {
	local := keyLocal(e.key)
	next, err := e.stack.open(uint8(header.TCPProtocolNumber), local)
	if err != nil {
		return nil, err
	}
	if maxSegment != 0 {
		if err = next.SetOption(OptMaxSegment, int64(maxSegment)); err != nil {
			next.Close()
			return nil, err
		}
	}
	return next.connect(keyRemote(e.key))
}
