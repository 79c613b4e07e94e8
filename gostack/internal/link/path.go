package link

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Path is how the packets of a flow leave.
type Path struct {
	Link    *Endpoint         // nil is the stack's own
	NextHop netip.Addr        // invalid is the destination itself
	MAC     tcpip.LinkAddress // of the next hop; "" has it resolved
	MTU     uint32            // 0 is the link's
}

// departure is the part of a flow's record that says where its packets go.
type departure struct {
	hop     *Hop // nil before the first packet, and where the link has no Ethernet header
	out     *Endpoint
	path    *Path   // set for this flow; nil has the table of routes decide
	ownPath *Path   // the last one on the stack's own link: used again when another link closes
	table   *routes // that hop was looked up in

	requests, replies uint32 // of the next hop, when the flow began to use it
	sentTo            MAC    // of the last frame
	unanswered        uint32 // packets dropped because the next hop did not answer

	progressed bool // the segment that came last acknowledged something new

	oldest     uint32 // sequence number of the segment that was sent as the oldest one
	framesThen uint32 // FramesReceived at that time
}

// use has packets leave by a next hop, which is released with the record.
func (d *departure) use(hop *Hop, out *Endpoint) {
	d.hop.release()
	d.hop, d.out = hop, out
	if hop != nil {
		d.requests, d.replies = hop.requests.Load(), hop.replies.Load()
	}
}

// end releases what the flow used.
func (d *departure) end(key FlowKey) {
	if d.out != nil {
		d.out.guests.remove(key)
	}
	d.use(nil, nil)
}

// ceiling is how large a packet may be when no router is narrower. gVisor takes no MTU below IPv6's
// least.
func (r *record) ceiling(own *Endpoint, version uint8) uint32 {
	link := own
	if r.out != nil {
		link = r.out
	}
	mtu := link.IPMTU()
	if r.limit != 0 {
		mtu = min(mtu, r.limit)
	}
	if r.path != nil && r.path.MTU != 0 {
		mtu = min(mtu, r.path.MTU)
	}
	if version == 6 {
		mtu = max(mtu, header.IPv6MinimumMTU)
	}
	return mtu
}

// confirmHop has the next hop of a connection that makes progress need no probe.
func (r *record) confirmHop(local netip.Addr) {
	if !r.progressed {
		return
	}
	r.progressed = false
	if r.hop != nil && (r.hop.State() == stack.Delay || r.hop.State() == stack.Probe) {
		r.hop.hops.confirm(r.hop, local)
	}
}

// describe adds what is known of the next hop.
func (r *record) describe(seen *Seen, own *Endpoint, version uint8) {
	d := &r.departure
	seen.LargestPacket = r.ceiling(own, version)
	if found := r.pmtu.found; found != 0 {
		seen.LargestPacket = min(seen.LargestPacket, found)
	}
	seen.NextHopMAC, seen.Unanswered = d.sentTo, d.unanswered
	if d.hop != nil {
		seen.NextHop, seen.HopState = d.hop.Address, d.hop.State()
		seen.NeighborRequests = d.hop.requests.Load() - d.requests
		seen.NeighborReplies = d.hop.replies.Load() - d.replies
	}
}

// SetPath says how a watched flow's packets leave from now on; nil has the table of routes decide.
// False where the link is closed.
func (o *Observer) SetPath(key FlowKey, path *Path) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.flows[key]
	return r == nil || o.setPath(key, r, path)
}

// setPath must be called with the lock held.
func (o *Observer) setPath(key FlowKey, r *record, path *Path) bool {
	var out *Endpoint
	if path != nil && path.Link != nil && path.Link != o.edge {
		out = path.Link
		if !out.guests.add(key, o.edge) {
			return false
		}
	}
	if before := r.out; before != nil && before != out {
		before.guests.remove(key)
	}
	if path == nil {
		r.use(nil, nil)
	} else {
		r.use(path.hop(o.edge, key.remote()), out)
	}
	if r.path == nil || path == nil || r.path.NextHop != path.NextHop || r.path.Link != path.Link {
		r.pmtu.found, r.pmtu.search = 0, search{} // what was found was another path's
	}
	r.path, r.table = path, nil
	if out == nil {
		r.ownPath = path
	}
	o.elsewhere.Store(o.elsewhere.Load() || out != nil)
	return true
}

// linkClosed has a flow fall back to its own link.
func (o *Observer) linkClosed(key FlowKey, closed *Endpoint) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.flows[key]
	if r == nil {
		r = o.closing.find(&key)
	}
	if r != nil && r.out == closed {
		o.setPath(key, r, r.ownPath)
	}
}

// hop returns the path's next hop; nil on a link without Ethernet header.
func (p *Path) hop(own *Endpoint, destination netip.Addr) *Hop {
	edge := p.Link
	if edge == nil {
		edge = own
	}
	if !edge.ethernet {
		return nil
	}
	address := p.NextHop
	if !address.IsValid() {
		address = destination
	}
	if mac := macOf(p.MAC); mac.Known() {
		return edge.hops.fixed(address, mac)
	}
	if mac := groupMAC(address); mac.Known() {
		return edge.hops.fixed(address, mac)
	}
	return edge.hops.acquire(address)
}

// groupMAC is that of a multicast or broadcast address (RFC 1112, 6.4; RFC 2464, 7).
func groupMAC(a netip.Addr) MAC {
	switch {
	case a.Is4() && a.IsMulticast():
		return macOf(header.EthernetAddressFromMulticastIPv4Address(tcpip.AddrFromSlice(a.AsSlice())))
	case a.IsMulticast():
		return macOf(header.EthernetAddressFromMulticastIPv6Address(tcpip.AddrFromSlice(a.AsSlice())))
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return macOf(header.EthernetBroadcastAddress)
	}
	return 0
}

// SetRoutes replaces the routes of flows that have no path of their own.
func (o *Observer) SetRoutes(all []Route) { o.routes.Store(newRoutes(all)) }

// AddRoute adds one.
func (o *Observer) AddRoute(one Route) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.routes.Store(o.routes.Load().with(one))
}

// next is where one packet goes.
type next struct {
	hop   *Hop // nil where the MAC is known without one, and on a link without Ethernet header
	out   *Endpoint
	mac   MAC
	local netip.Addr
}

// next decides where a packet goes; false where no route leads there. What it returns is
// used at once: a next hop may be dropped once its last flow has ended.
func (o *Observer) next(pkt *stack.PacketBuffer) (next, bool) {
	datagram, fragmented := fragmentOf(pkt)
	if fragmented && !isFirstFragment(pkt) {
		return o.fragments.find(datagram)
	}
	key, ok := packetKey(pkt)
	if !ok {
		return next{}, false
	}
	n, ok := o.nextFor(&key)
	if ok && fragmented {
		o.fragments.remember(datagram, n)
	}
	return n, ok
}

func (o *Observer) nextFor(key *FlowKey) (next, bool) {
	n := next{local: key.local()}
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.find(key)
	if r == nil {
		r = o.closing.find(key)
	}
	if r != nil && r.path != nil {
		n.hop, n.out = r.hop, r.out
		r.noteMAC()
		return n, true
	}
	destination := key.remote()
	if n.mac = groupMAC(destination); n.mac.Known() {
		return n, true
	}
	if a := o.edge.arrivals.Load(); a != nil {
		if n.mac = a.macOf(destination); n.mac.Known() {
			if r != nil {
				r.sentTo = n.mac
			}
			return n, true
		}
	}
	table := o.routes.Load()
	if r != nil && r.hop != nil && r.table == table {
		n.hop = r.hop
		r.noteMAC()
		return n, true
	}
	address, ok := table.nextHop(destination)
	if !ok || !o.edge.ethernet {
		return n, ok
	}
	hop := o.edge.hops.acquire(address)
	if r == nil {
		hop.release()
	} else {
		r.use(hop, nil)
		r.table = table
		r.noteMAC()
	}
	n.hop = hop
	return n, true
}

func (r *record) noteMAC() {
	if r.hop != nil {
		if mac := r.hop.MAC(); mac.Known() {
			r.sentTo = mac
		}
	}
}

// NextHop returns the next hop of a flow; nil where its MAC need not be asked for. False
// where no route leads there.
func (o *Observer) NextHop(key FlowKey) (*Hop, bool) {
	n, ok := o.nextFor(&key)
	return n.hop, ok
}

// resent reports whether the oldest segment leaves again and the peer has sent nothing meanwhile.
func (r *record) resent(number uint32) bool {
	again := r.oldest == number && r.framesThen == r.FramesReceived
	r.oldest, r.framesThen = number, r.FramesReceived
	return again
}
