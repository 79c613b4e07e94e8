package link

import (
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// arrivalsLimit bounds the senders whose MAC is remembered; the oldest is forgotten first, and
// its next packet brings the MAC back.
const arrivalsLimit = 8192

// arrivals remembers which MAC each sender's packets come from, so that answers can be sent
// there instead of to the next hop of a route.
type arrivals struct {
	mu    sync.Mutex
	macs  map[netip.Addr]MAC
	order []netip.Addr
}

// FollowArrivals has packets of flows without a path go to the MAC that their receiver's own
// packets came from.
func (e *Endpoint) FollowArrivals() {
	e.arrivals.Store(&arrivals{macs: make(map[netip.Addr]MAC)})
}

func (a *arrivals) saw(source, mac []byte) {
	sender, ok := netip.AddrFromSlice(source)
	if !ok || mac == nil || mac[0]&1 != 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, found := a.macs[sender]; !found {
		if len(a.order) == arrivalsLimit {
			delete(a.macs, a.order[0])
			a.order = a.order[1:]
		}
		a.order = append(a.order, sender)
	}
	a.macs[sender] = macOf(tcpip.LinkAddress(mac))
}

// macOf returns where a sender's packets came from; 0 for one that has sent none.
func (a *arrivals) macOf(sender netip.Addr) MAC {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.macs[sender]
}
