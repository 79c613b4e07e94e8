package netstack

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// neighbors connects the edge's next hops with gVisor's neighbour cache: it resolves them and
// tells the edge of every change (stack.NUDDispatcher).
type neighbors struct{ s *Stack }

// Resolve implements link.Resolver.
func (n neighbors) Resolve(neighbor, local netip.Addr, found func(tcpip.LinkAddress)) {
	var from tcpip.Address
	if local.IsValid() {
		from = addressOf(local)
	}
	// ErrWouldBlock says that the answer comes later, and any other error that the stack is closed.
	_ = n.s.stack.GetLinkAddress(nic, addressOf(neighbor), from, protocolOf(neighbor), func(r stack.LinkResolutionResult) {
		if r.Err == nil {
			found(r.LinkAddress)
		}
	})
}

// Remove implements link.Resolver.
func (n neighbors) Remove(neighbor netip.Addr) bool {
	return n.s.stack.RemoveNeighbor(nic, protocolOf(neighbor), addressOf(neighbor)) == nil
}

// OnNeighborAdded implements stack.NUDDispatcher.
func (n neighbors) OnNeighborAdded(_ tcpip.NICID, entry stack.NeighborEntry) { n.changed(entry) }

// OnNeighborChanged implements stack.NUDDispatcher.
func (n neighbors) OnNeighborChanged(_ tcpip.NICID, entry stack.NeighborEntry) { n.changed(entry) }

func (n neighbors) changed(entry stack.NeighborEntry) {
	if a, ok := netip.AddrFromSlice(entry.Addr.AsSlice()); ok {
		n.s.Link.Hops().Changed(a, entry.LinkAddr, entry.State)
	}
}

// OnNeighborRemoved implements stack.NUDDispatcher.
func (n neighbors) OnNeighborRemoved(_ tcpip.NICID, entry stack.NeighborEntry) {
	if a, ok := netip.AddrFromSlice(entry.Addr.AsSlice()); ok {
		n.s.Link.Hops().Removed(a)
	}
}

// AddNeighbor fixes a neighbour's MAC.
func (s *Stack) AddNeighbor(a netip.Addr, mac []byte) tcpip.Error {
	return s.stack.AddStaticNeighbor(nic, protocolOf(a), addressOf(a), tcpip.LinkAddress(mac))
}

// RemoveNeighbor forgets a neighbour's MAC; the next packet has it resolved.
func (s *Stack) RemoveNeighbor(a netip.Addr) { s.Link.Hops().Forget(a) }

// AnswerWhereItCameFrom sends packets to the MAC that the peer's own came from. To a peer that
// has sent nothing they go as if it was on-link.
func (s *Stack) AnswerWhereItCameFrom() {
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		s.AddRoute(netip.PrefixFrom(any, 0), netip.Addr{})
	}
	s.Link.FollowArrivals()
}
