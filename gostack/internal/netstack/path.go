package netstack

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"netkat/gostack/internal/link"
)

// Path is how the packets of a flow leave.
type Path struct {
	Link    *Stack     // whose link; nil is the stack's own
	NextHop netip.Addr // invalid is the destination itself
	MAC     []byte     // nil has the next hop resolved
	MTU     uint32     // 0 is the link's
}

func (p *Path) edge() *link.Path {
	if p == nil {
		return nil
	}
	edge := &link.Path{NextHop: p.NextHop, MAC: tcpip.LinkAddress(p.MAC), MTU: p.MTU}
	if p.Link != nil {
		edge.Link = p.Link.Link
	}
	return edge
}

// SetPath has the packets of a connection, or of an endpoint with a peer, leave by another path
// from now on; nil has the routes decide.
func (e *Endpoint) SetPath(path *Path) tcpip.Error {
	if !e.watched {
		return &tcpip.ErrNotConnected{}
	}
	if !e.stack.Link.Observer.SetPath(e.key, path.edge()) {
		return &tcpip.ErrInvalidEndpointState{} // its link is closed
	}
	e.hop.reset()
	e.writable.raise() // a sender may wait for the next hop before
	return nil
}

// limitSegment has the MSS option of a connection's SYN follow its path's MTU.
func (e *Endpoint) limitSegment(path *Path) tcpip.Error {
	if !e.tcp || path == nil {
		return nil
	}
	mtu := e.linkMTU(path)
	if path.MTU != 0 {
		mtu = min(mtu, path.MTU)
	}
	if mtu >= e.stack.Link.IPMTU() {
		return nil
	}
	headers := uint32(header.IPv4MinimumSize + header.TCPMinimumSize)
	if e.key.Version == 6 {
		headers = header.IPv6MinimumSize + header.TCPMinimumSize
	}
	if mtu <= headers {
		return &tcpip.ErrInvalidOptionValue{}
	}
	payload := mtu - headers
	if chosen := e.maxPayload.Load(); chosen != 0 && chosen <= payload {
		return nil
	}
	return e.ep.SetSockOptInt(tcpip.MaxSegOption, int(payload))
}

func (e *Endpoint) linkMTU(path *Path) uint32 {
	if path.Link != nil {
		return path.Link.Link.IPMTU()
	}
	return e.stack.Link.IPMTU()
}

// AddRoute adds a route for flows without a path of their own; an invalid gateway means on-link.
func (s *Stack) AddRoute(p netip.Prefix, gateway netip.Addr) {
	s.Link.Observer.AddRoute(link.Route{Prefix: p, Gateway: gateway})
}

// SetRoutes replaces all of them.
func (s *Stack) SetRoutes(all []link.Route) { s.Link.Observer.SetRoutes(all) }

// SetLink changes the MAC and the MTU of the link. Connections go on with both.
func (s *Stack) SetLink(mtu uint32, mac []byte) tcpip.Error {
	before := s.Link.LinkAddress()
	if (len(mac) == 0) != (before == "") {
		return &tcpip.ErrInvalidOptionValue{}
	}
	s.Link.SetIPMTU(mtu)
	if own := tcpip.LinkAddress(mac); own != before {
		s.Link.SetLinkAddress(own)
		s.Link.Hops().ForgetAll()
	}
	return nil
}
