package netstack

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// ethernetLink is gVisor's Ethernet endpoint without next hops in gVisor's routes: packets reach
// the edge with an empty destination, and the edge addresses each by the path of its flow, which
// may change at any time. gVisor keeps a connection's route for good.
//
// It rests on when gVisor asks for CapabilityResolutionRequired: when a NIC is made, for whether it
// has a neighbour cache (stack/nic.go, newNIC), and for each new route, for whether the route
// uses the cache (stack/route.go, makeRoute). If a version asks at other times, every connect
// to a neighbour is addressed to gVisor's own idea of a next hop: tests that look at
// destination MACs fail.
type ethernetLink struct {
	*ethernet.Endpoint
	attached atomic.Bool
}

func newEthernetLink(inner stack.LinkEndpoint) *ethernetLink {
	return &ethernetLink{Endpoint: ethernet.New(inner)}
}

// Capabilities implements stack.LinkEndpoint.
func (l *ethernetLink) Capabilities() stack.LinkEndpointCapabilities {
	c := l.Endpoint.Capabilities()
	if l.attached.Load() {
		c &^= stack.CapabilityResolutionRequired
	}
	return c
}
