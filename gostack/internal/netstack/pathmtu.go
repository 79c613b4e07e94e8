package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// gVisor retransmits what was too large for a path only while it lowers its own MSS
// (tcp/snd.go, updateMaxPayloadSize), and never raises that again. The MSS that counts is the
// link's (link/pathmtu.go). So gVisor's is lowered for the retransmission, and put back.

// retransmitTooLarge sends again what was larger than the path MTU: all that is in flight is taken
// for lost, and the congestion window stays (net/ipv4/tcp_output.c, tcp_simple_retransmit).
func (e *Endpoint) retransmitTooLarge(mtu uint32) {
	ep, ok := e.ep.(*tcp.Endpoint)
	if !ok {
		return
	}
	defer e.stack.attend()()
	size := mtu - header.IPv4MinimumSize
	if e.key.Version == 6 {
		size = mtu - header.IPv6MinimumSize
	}
	if e.stack.Link.SupportedGSO() == stack.GSONotSupported {
		ep.HandleError(packetTooBig(size), nil) // gVisor cuts the segments, and its MSS counts
		return
	}
	e.resizing.Lock()
	defer e.resizing.Unlock()
	// gVisor ignores a value that is not below all before it.
	if e.lowest != 0 {
		size = min(size, e.lowest-1)
	}
	e.lowest = size
	restore := e.assumeLost(ep)
	ep.HandleError(packetTooBig(size), nil)
	restore()
}

// packetTooBig is the error that gVisor's network layer makes of an ICMP message.
type packetTooBig uint32

// Origin is tcpip.SockErrorCause's.
func (packetTooBig) Origin() tcpip.SockErrOrigin { return tcpip.SockExtErrorOriginNone }

// Type is tcpip.SockErrorCause's.
func (packetTooBig) Type() uint8 { return 0 }

// Code is tcpip.SockErrorCause's.
func (packetTooBig) Code() uint8 { return 0 }

// Info is tcpip.SockErrorCause's: what an IP packet may carry.
func (p packetTooBig) Info() uint32 { return uint32(p) }

// Kind is stack.TransportError's.
func (packetTooBig) Kind() stack.TransportErrorKind { return stack.PacketTooBigTransportError }
