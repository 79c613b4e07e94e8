package link

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// arrivalsLimit bounds the senders whose MAC is remembered; the oldest is forgotten
// first, and learned anew with its next packet.
const arrivalsLimit = 8192

// arrivals remembers which MAC each sender's packets come from, so that answers can
// take the way back instead of the host's route. For the injecting thread alone.
type arrivals struct {
	macs   map[netip.Addr]tcpip.LinkAddress
	order  []netip.Addr
	learn  func(sender netip.Addr, mac []byte)
	forget func(sender netip.Addr)
}

// FollowArrivals calls learn with each sender whose MAC is new or another than before.
// Both may call into the stack. Before the first frame comes in.
func (e *Endpoint) FollowArrivals(learn func(netip.Addr, []byte), forget func(netip.Addr)) {
	e.arrivals.Store(&arrivals{
		macs: make(map[netip.Addr]tcpip.LinkAddress), learn: learn, forget: forget,
	})
}

func (a *arrivals) saw(source, mac []byte) {
	sender, ok := netip.AddrFromSlice(source)
	if !ok || mac == nil || mac[0]&1 != 0 {
		return
	}
	known, found := a.macs[sender]
	if string(known) == string(mac) {
		return
	}
	if !found {
		if len(a.order) == arrivalsLimit {
			delete(a.macs, a.order[0])
			a.forget(a.order[0])
			a.order = a.order[1:]
		}
		a.order = append(a.order, sender)
	}
	a.macs[sender] = tcpip.LinkAddress(mac)
	a.learn(sender, mac)
}
