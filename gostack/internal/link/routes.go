package link

import (
	"net/netip"
	"slices"
)

// Route is a prefix and its gateway; an invalid gateway means on-link.
type Route struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
}

// routes are the next hops of flows that have no path of their own: those of a listener and of
// datagrams without a peer. A table is never changed, only replaced.
type routes struct {
	gateways map[netip.Prefix]netip.Addr
	lengths  [2][]int // of IPv4 and IPv6, the longest first
}

func newRoutes(all []Route) *routes {
	r := &routes{gateways: make(map[netip.Prefix]netip.Addr, len(all))}
	for _, one := range all {
		prefix := one.Prefix.Masked()
		r.gateways[prefix] = one.Gateway
		lengths := &r.lengths[family(prefix.Addr())]
		if !slices.Contains(*lengths, prefix.Bits()) {
			*lengths = append(*lengths, prefix.Bits())
		}
	}
	for i := range r.lengths {
		slices.SortFunc(r.lengths[i], func(a, b int) int { return b - a })
	}
	return r
}

// with returns a table with one more route.
func (r *routes) with(one Route) *routes {
	all := make([]Route, 0, len(r.gateways)+1)
	for prefix, gateway := range r.gateways {
		all = append(all, Route{prefix, gateway})
	}
	return newRoutes(append(all, one))
}

// nextHop returns the address that packets for a destination are sent to; false without a route.
func (r *routes) nextHop(destination netip.Addr) (netip.Addr, bool) {
	for _, length := range r.lengths[family(destination)] {
		prefix, err := destination.Prefix(length)
		if err != nil {
			continue
		}
		if gateway, ok := r.gateways[prefix]; ok {
			if gateway.IsValid() {
				return gateway, true
			}
			return destination, true
		}
	}
	return netip.Addr{}, false
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
