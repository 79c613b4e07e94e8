package link

import (
	"encoding/binary"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// FlowKey names a flow as this stack sees it. IPv4 addresses are in the first four bytes.
type FlowKey struct {
	Protocol              uint8
	Version               uint8
	Local, Remote         [16]byte
	LocalPort, RemotePort uint16
}

// Seen is what the wire showed of one flow: the truth behind an error code.
type Seen struct {
	SynsSent, FramesReceived, Resets, ICMPErrors, Hairpins uint32

	ResetTTL, HairpinTTL                     uint8
	HairpinMAC                               [6]byte
	ICMPType, ICMPCode, ICMPVersion, ICMPTTL uint8
	ICMPSender                               [16]byte
	ICMPMTU                                  uint32

	// Acked counts the sequence numbers that the peer acknowledged, SYN and FIN included.
	Acked uint64
	// FinReceived is set by the first segment with FIN.
	FinReceived bool
}

// flowLimit bounds what a flood of SYNs at a listener can make the observer keep.
const flowLimit = 1 << 16

type record struct {
	Seen
	acked   uint32 // the highest acknowledgment number, or our first sequence number
	started bool   // our SYN was seen, so acked means something
	fatal   func() // told of an ICMP error, so that a connect need not wait it out
}

// Observer watches the frames of known flows go by. gVisor turns what it sees into
// an error code; who sent it, with which TTL, is lost there.
type Observer struct {
	ethernet bool

	mu               sync.Mutex
	flows            map[FlowKey]*record
	lastKey          FlowKey
	last             *record
	neighborRequests uint32
	neighborReplies  uint32
}

func newObserver(ethernet bool) *Observer {
	return &Observer{ethernet: ethernet, flows: make(map[FlowKey]*record)}
}

// Watch begins a flow's record. fatal is called, with no lock of the caller's to
// be taken in it, when an ICMP error about the flow arrives; it may be nil.
func (o *Observer) Watch(key FlowKey, fatal func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.flows[key]; r != nil {
		r.fatal = fatal
		return
	}
	o.flows[key] = &record{fatal: fatal}
}

// Forget ends a flow's record.
func (o *Observer) Forget(key FlowKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.flows, key)
	o.last = nil
}

// See returns what was seen so far; all zero for a flow that is not watched.
func (o *Observer) See(key FlowKey) Seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.flows[key]; r != nil {
		return r.Seen
	}
	return Seen{}
}

// Neighbors returns how often next hops were asked for their MAC, and how often one answered.
func (o *Observer) Neighbors() (requests, replies uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.neighborRequests, o.neighborReplies
}

// find must be called with the lock held. Most frames are of the flow of the frame before.
func (o *Observer) find(key *FlowKey) *record {
	if o.last != nil && o.lastKey == *key {
		return o.last
	}
	r := o.flows[*key]
	if r != nil {
		o.lastKey, o.last = *key, r
	}
	return r
}

// outgoing looks at a packet on its way to the queue.
func (o *Observer) outgoing(pkt *stack.PacketBuffer) {
	switch pkt.NetworkProtocolNumber {
	case header.ARPProtocolNumber:
		o.countRequest(header.ARP(pkt.NetworkHeader().Slice()).Op() == header.ARPRequest)
		return
	case header.IPv6ProtocolNumber:
		if pkt.TransportProtocolNumber == header.ICMPv6ProtocolNumber {
			h := pkt.TransportHeader().Slice()
			o.countRequest(len(h) > 0 && header.ICMPv6(h).Type() == header.ICMPv6NeighborSolicit)
			return
		}
	}
	transport := pkt.TransportHeader().Slice()
	switch pkt.TransportProtocolNumber {
	case header.TCPProtocolNumber:
		if len(transport) < header.TCPMinimumSize || header.TCP(transport).Flags()&header.TCPFlagSyn == 0 {
			return
		}
	case header.UDPProtocolNumber:
		if len(transport) < header.UDPMinimumSize {
			return
		}
	default:
		return
	}
	o.countSent(pkt, transport)
}

func (o *Observer) countRequest(is bool) {
	if is {
		o.mu.Lock()
		o.neighborRequests++
		o.mu.Unlock()
	}
}

func (o *Observer) countSent(pkt *stack.PacketBuffer, transport []byte) {
	key := FlowKey{
		Protocol:   uint8(pkt.TransportProtocolNumber),
		LocalPort:  binary.BigEndian.Uint16(transport),
		RemotePort: binary.BigEndian.Uint16(transport[2:]),
	}
	network := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		key.Version = 4
		copy(key.Local[:], network[12:16])
		copy(key.Remote[:], network[16:20])
	} else {
		key.Version = 6
		copy(key.Local[:], network[8:24])
		copy(key.Remote[:], network[24:40])
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.find(&key)
	isTCP := pkt.TransportProtocolNumber == header.TCPProtocolNumber
	if r == nil {
		if !isTCP || len(o.flows) >= flowLimit {
			return
		}
		// A SYN-ACK of ours: the connection is accepted only later, and by then its
		// first sequence number has gone by.
		r = &record{}
		o.flows[key] = r
	}
	r.SynsSent++
	if isTCP && !r.started {
		r.started, r.acked = true, header.TCP(transport).SequenceNumber()
	}
}

// incoming looks at a packet from the wire; false when the stack must not see it.
func (o *Observer) incoming(p *parsed, mac []byte) bool {
	switch p.protocol {
	case header.TCPProtocolNumber, header.UDPProtocolNumber:
		if p.laterFragment || len(p.segment) < 8 {
			return p.laterFragment
		}
		return o.incomingSegment(p, mac)
	case header.ICMPv4ProtocolNumber:
		return p.version == 4 && o.incomingICMPv4(p)
	case header.ICMPv6ProtocolNumber:
		return p.version == 6 && o.incomingICMPv6(p)
	}
	return false
}

func (o *Observer) incomingSegment(p *parsed, mac []byte) bool {
	key := FlowKey{Protocol: uint8(p.protocol), Version: uint8(p.version)}
	copy(key.Local[:], p.destination)
	copy(key.Remote[:], p.source)
	key.RemotePort = binary.BigEndian.Uint16(p.segment)
	key.LocalPort = binary.BigEndian.Uint16(p.segment[2:])
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.find(&key)
	if r == nil {
		return !o.hairpin(&key, p, mac)
	}
	r.FramesReceived++
	if p.protocol != header.TCPProtocolNumber || len(p.segment) < header.TCPMinimumSize {
		return true
	}
	tcp := header.TCP(p.segment)
	flags := tcp.Flags()
	if flags&header.TCPFlagRst != 0 {
		r.Resets++
		r.ResetTTL = p.ttl
	}
	if flags&header.TCPFlagFin != 0 {
		r.FinReceived = true
	}
	if flags&header.TCPFlagAck != 0 && r.started {
		if ahead := tcp.AckNumber() - r.acked; ahead != 0 && ahead < 1<<31 {
			r.acked += ahead
			r.Acked += uint64(ahead)
		}
	}
	return true
}

// hairpin recognises a packet of our own that came back in; the lock is held.
func (o *Observer) hairpin(key *FlowKey, p *parsed, mac []byte) bool {
	own := FlowKey{
		Protocol: key.Protocol, Version: key.Version,
		Local: key.Remote, Remote: key.Local,
		LocalPort: key.RemotePort, RemotePort: key.LocalPort,
	}
	r := o.flows[own]
	if r == nil {
		return false
	}
	r.Hairpins++
	r.HairpinTTL = p.ttl
	copy(r.HairpinMAC[:], mac)
	return true
}
