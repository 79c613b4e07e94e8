package link

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// ARP and neighbour discovery of gVisor come here with the MAC that they are for. For all else it
// has none, since its routes have no next hop that it would resolve (netstack/ethernet.go): the
// flow's path decides, packet by packet.

// direct has a packet leave by the path of its flow; false where it is not for this link's queue
// now: it waits for a MAC, it is queued on another link, or it is dropped.
func (e *Endpoint) direct(pkt *stack.PacketBuffer) bool {
	n, ok := e.Observer.next(pkt)
	if !ok {
		e.Counters.NoRoute.Add(1)
		return false
	}
	if n.out == nil {
		return e.address(pkt, &n)
	}
	n.local = netip.Addr{} // the other link asks from an address of its own
	framed := n.out.reframe(pkt)
	defer framed.DecRef()
	if n.out.address(framed, &n) {
		n.out.pass([]*stack.PacketBuffer{framed})
	}
	return false
}

// address writes the MACs of a packet's frame; false where it waits for the next hop's.
func (e *Endpoint) address(pkt *stack.PacketBuffer, n *next) bool {
	if !e.ethernet {
		return true
	}
	mac, own := n.mac, e.LinkAddress()
	frame := pkt.LinkHeader().Slice()
	copy(frame[6:12], own)
	if n.hop != nil {
		mac = n.hop.use(n.local)
		for !mac.Known() {
			if n.hop.hold(pkt, n.local) {
				return false
			}
			mac = n.hop.MAC()
		}
	}
	mac.put(frame)
	return true
}

// pass queues packets that have a MAC, also those that had to wait for it.
func (e *Endpoint) pass(pkts []*stack.PacketBuffer) {
	for i, pkt := range pkts {
		extra, leaves := e.observe(pkt)
		if leaves && e.queue.push(pkts[i:i+1]) == 0 {
			e.Counters.QueueFull.Add(1)
		}
		if extra != nil {
			e.queue.push([]*stack.PacketBuffer{extra})
			extra.DecRef()
		}
	}
}

// passHeld is pass for packets that were held.
func (e *Endpoint) passHeld(pkts []*stack.PacketBuffer) {
	e.pass(pkts)
	for _, pkt := range pkts {
		pkt.DecRef()
	}
}

// dropHeld is for packets whose next hop did not answer.
func (e *Endpoint) dropHeld(pkts []*stack.PacketBuffer) {
	for _, pkt := range pkts {
		if key, ok := packetKey(pkt); ok {
			e.observerOf(&key).unanswered(key)
		}
		pkt.DecRef()
	}
}

// observerOf is that of the stack a packet on this link belongs to.
func (e *Endpoint) observerOf(key *FlowKey) *Observer {
	if owner := e.guests.owner(key); owner != nil {
		return owner.Observer
	}
	return e.Observer
}

// observe looks at a packet once, on its way to the queue; false where it must not leave. extra is
// sent after it.
func (e *Endpoint) observe(pkt *stack.PacketBuffer) (extra *stack.PacketBuffer, _ bool) {
	observer := e.Observer
	if e.guests.any.Load() {
		if key, ok := packetKey(pkt); ok {
			observer = e.observerOf(&key)
		}
	}
	sight := observer.outgoing(pkt)
	if sight.doubt != nil {
		sight.doubt.doubt(sight.local)
	}
	return sight.extra, !sight.tooLarge
}

// unanswered counts a packet of a flow that was dropped because its next hop did not answer.
func (o *Observer) unanswered(key FlowKey) {
	o.mu.Lock()
	r := o.flows[key]
	var fatal func()
	if r != nil {
		r.departure.unanswered++
		fatal = r.fatal
	}
	o.mu.Unlock()
	if fatal != nil {
		fatal()
	}
}

// destinationMAC is where a frame goes.
func destinationMAC(pkt *stack.PacketBuffer) MAC {
	h := pkt.LinkHeader().Slice()
	if len(h) < header.EthernetMinimumSize {
		return 0
	}
	return macKnown | MAC(binary.LittleEndian.Uint32(h)) | MAC(binary.LittleEndian.Uint16(h[4:]))<<32
}
