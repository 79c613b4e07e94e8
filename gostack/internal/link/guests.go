package link

import (
	"slices"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// guests are the flows of other stacks that use this link. Their packets are queued here, and their
// frames, which arrive here, are copied to the stack that they belong to. The thread that receives
// holds this stack's locks, so another goroutine delivers them.
type guests struct {
	any    atomic.Bool
	mu     sync.Mutex
	owners map[FlowKey]*Endpoint
	closed bool
}

// add is false where the link is closed.
func (g *guests) add(key FlowKey, owner *Endpoint) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	if g.owners == nil {
		g.owners = make(map[FlowKey]*Endpoint)
	}
	g.owners[key] = owner
	g.any.Store(true)
	return true
}

func (g *guests) remove(key FlowKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.owners, key)
	g.any.Store(len(g.owners) > 0)
}

// owner is the stack that a flow belongs to; nil for one of this stack.
func (g *guests) owner(key *FlowKey) *Endpoint {
	if !g.any.Load() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.owners[*key]
}

// close has every flow fall back to the link of its own stack.
func (g *guests) close(link *Endpoint) {
	g.mu.Lock()
	owners := g.owners
	g.owners, g.closed = nil, true
	g.any.Store(false)
	g.mu.Unlock()
	for key, owner := range owners {
		owner.Observer.linkClosed(key, link)
	}
}

// forward copies a frame that belongs to a flow of another stack; false for any other.
func (e *Endpoint) forward(p *parsed, packet, mac []byte) bool {
	if !e.guests.any.Load() {
		return false
	}
	key, ok := p.about()
	if !ok {
		return false
	}
	owner := e.guests.owner(&key)
	if owner == nil {
		return false
	}
	whole := slices.Clone(packet)
	shorten(whole, p)
	owner.fromGuest.add(visitor{whole, slices.Clone(mac)}, owner.receiveVisitors)
	return true
}

// shorten has a packet end where its bytes do: of the largest GRO packets the end lies in other
// memory. The peer sends the rest again, FIN included.
func shorten(packet []byte, p *parsed) {
	if p.protocol != header.TCPProtocolNumber || len(p.segment) < header.TCPMinimumSize {
		return
	}
	flags := &packet[p.transport+header.TCPFlagsOffset]
	if p.version == 4 {
		ip := header.IPv4(packet)
		if int(ip.TotalLength()) <= len(packet) {
			return
		}
		ip.SetTotalLength(uint16(len(packet)))
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		ip := header.IPv6(packet)
		if header.IPv6MinimumSize+int(ip.PayloadLength()) <= len(packet) {
			return
		}
		ip.SetPayloadLength(uint16(len(packet) - header.IPv6MinimumSize))
	}
	*flags &^= uint8(header.TCPFlagFin)
}

// about is the flow of a packet that came in, or the one that an ICMP error quotes.
func (p *parsed) about() (FlowKey, bool) {
	switch p.protocol {
	case header.TCPProtocolNumber, header.UDPProtocolNumber:
		if p.laterFragment || len(p.segment) < 4 {
			return FlowKey{}, false
		}
		return p.flow(), true
	case header.ICMPv4ProtocolNumber, header.ICMPv6ProtocolNumber:
		const quoted = 8 // both ICMP headers are as long
		if p.fragment || len(p.segment) < quoted {
			return FlowKey{}, false
		}
		key, _, ok := quotedFlow(p.segment[quoted:])
		return key, ok
	}
	return FlowKey{}, false
}

// visitor is a packet that arrived on another stack's link.
type visitor struct{ packet, mac []byte }

// visitors are handed over by one goroutine, in order, which lives while there are some.
type visitors struct {
	mu      sync.Mutex
	waiting []visitor
	running bool
}

func (v *visitors) add(one visitor, deliver func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting = append(v.waiting, one)
	if !v.running {
		v.running = true
		go deliver()
	}
}

func (v *visitors) take() []visitor {
	v.mu.Lock()
	defer v.mu.Unlock()
	waiting := v.waiting
	v.waiting = nil
	v.running = len(waiting) > 0
	return waiting
}

func (e *Endpoint) receiveVisitors() {
	for {
		all := e.fromGuest.take()
		if len(all) == 0 {
			return
		}
		for _, one := range all {
			e.receiveVisitor(one)
		}
	}
}

// receiveVisitor treats a packet as one of this link: what the kernel has not verified the other
// link has.
func (e *Endpoint) receiveVisitor(one visitor) {
	var p parsed
	if !parsePacket(one.packet, &p) || !e.Observer.incoming(&p, one.mac) {
		return
	}
	protocol := header.IPv4ProtocolNumber
	if p.version == 6 {
		protocol = header.IPv6ProtocolNumber
	}
	pkt := stackPacket(e.withLinkHeader(one.packet, protocol))
	e.deliver(pkt, protocol)
	pkt.DecRef()
}

// withLinkHeader returns a frame of a packet to this stack, without a source MAC.
func (e *Endpoint) withLinkHeader(packet []byte, protocol tcpip.NetworkProtocolNumber) []byte {
	if !e.ethernet {
		return packet
	}
	frame := make([]byte, header.EthernetMinimumSize, header.EthernetMinimumSize+len(packet))
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: e.LinkAddress(), DstAddr: e.LinkAddress(), Type: protocol,
	})
	return append(frame, packet...)
}

// reframe returns a packet of another stack with this link's header, to be released by the caller.
func (e *Endpoint) reframe(pkt *stack.PacketBuffer) *stack.PacketBuffer {
	network, transport := len(pkt.NetworkHeader().Slice()), len(pkt.TransportHeader().Slice())
	payload := pkt.ToBuffer()
	payload.TrimFront(int64(len(pkt.LinkHeader().Slice())))
	framed := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: header.EthernetMinimumSize,
		Payload:            payload,
	})
	framed.NetworkHeader().Consume(network)
	framed.TransportHeader().Consume(transport)
	framed.NetworkProtocolNumber = pkt.NetworkProtocolNumber
	framed.TransportProtocolNumber = pkt.TransportProtocolNumber
	framed.GSOOptions = pkt.GSOOptions
	if e.ethernet {
		header.Ethernet(framed.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{
			SrcAddr: e.LinkAddress(), Type: pkt.NetworkProtocolNumber,
		})
	}
	return framed
}

func stackPacket(frame []byte) *stack.PacketBuffer {
	return stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
}
