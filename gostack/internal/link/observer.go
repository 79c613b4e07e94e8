package link

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
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
	// FarFrames had a TTL below what was asked for, and were kept from the stack.
	FarFrames uint32

	PeerTTL, ResetTTL, HairpinTTL, FarTTL    uint8
	HairpinMAC                               [6]byte
	ICMPType, ICMPCode, ICMPVersion, ICMPTTL uint8
	ICMPSender                               [16]byte
	ICMPMTU                                  uint32

	// Handshake is the time from our last SYN, or SYN-ACK, to its acknowledgement. gVisor
	// measures it in milliseconds.
	Handshake time.Duration
	// Acked counts the sequence numbers that the peer acknowledged, SYN and FIN included.
	Acked uint64
	// FinReceived is set by the first segment with FIN, in order or not.
	FinReceived bool
	// PeerMSS is the MSS option of the peer's SYN, Timestamps whether it had that option.
	PeerMSS    uint16
	Timestamps bool
}

// unclaimedLimit bounds what a flood of SYNs at a listener makes the observer keep:
// connections on their way to be accepted. The oldest go first.
const unclaimedLimit = 4096

type record struct {
	Seen
	sequence
	datagrams *datagrams // UDP: those that were sent, from the first on
	synAt     time.Time
	claimed   bool // an endpoint watches it
	minTTL    uint8
	window    uint16 // what the last segment offered
	stall     stall
	limit     uint32
	fatal     func() // told of an ICMP error, so that a connect need not wait it out
}

// Observer watches the frames of known flows go by. gVisor turns what it sees into
// an error code; who sent it, with which TTL, is lost there.
type Observer struct {
	ethernet bool
	now      func() time.Time

	mu               sync.Mutex
	flows            map[FlowKey]*record
	unclaimed        []FlowKey // in the order of their SYNs; some are claimed or gone since
	lastKey          FlowKey
	last             *record
	neighborRequests uint32
	neighborReplies  uint32
	claimed          map[netip.Addr]struct{}
	required         map[FlowKey]uint8 // the least TTL, by a listener's address and port
}

func newObserver(ethernet bool) *Observer {
	return &Observer{
		ethernet: ethernet,
		now:      time.Now,
		flows:    make(map[FlowKey]*record),
		claimed:  make(map[netip.Addr]struct{}),
		required: make(map[FlowKey]uint8),
	}
}

// Watch begins a flow's record. fatal is called, with no lock of the caller's to
// be taken in it, when an ICMP error about the flow arrives; it may be nil.
func (o *Observer) Watch(key FlowKey, fatal func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.flows[key]
	if r == nil {
		r = &record{}
		o.flows[key] = r
	}
	r.claimed, r.fatal = true, fatal
}

// LimitSize has a watched flow's TCP packets be no larger, where 0 is no limit: the
// stack is told as a router would, before the first that is too large leaves.
func (o *Observer) LimitSize(key FlowKey, size uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.flows[key]; r != nil {
		r.limit = size
	}
}

// Forget ends a flow's record.
func (o *Observer) Forget(key FlowKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget(key)
}

func (o *Observer) forget(key FlowKey) {
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

// outgoing looks at a packet on its way to the queue. Where it is one of several that
// vanished for their size it returns the path MTU to go on with, else 0; false where it
// is known beforehand to be too large.
func (o *Observer) outgoing(pkt *stack.PacketBuffer) (mtu uint32, fits bool) {
	switch pkt.NetworkProtocolNumber {
	case header.ARPProtocolNumber:
		o.countRequest(header.ARP(pkt.NetworkHeader().Slice()).Op() == header.ARPRequest)
		return 0, true
	case header.IPv6ProtocolNumber:
		if isNeighborSolicit(pkt) {
			o.countRequest(true)
			return 0, true
		}
	}
	transport := pkt.TransportHeader().Slice()
	switch pkt.TransportProtocolNumber {
	case header.TCPProtocolNumber:
		switch {
		case len(transport) < header.TCPMinimumSize:
		case header.TCP(transport).Flags()&header.TCPFlagSyn != 0:
			o.countSent(pkt, header.TCPProtocolNumber, transport)
		case pkt.Data().Size() > 0 || header.TCP(transport).Flags()&header.TCPFlagFin != 0:
			return o.countData(pkt, header.TCP(transport))
		}
	case header.UDPProtocolNumber:
		o.countSent(pkt, header.UDPProtocolNumber, transport)
	default:
		// Fragments are made below the transport layer; the first carries its header as data.
		if data, ok := pkt.Data().PullUp(header.UDPMinimumSize); ok && isFirstFragment(pkt) {
			o.countSent(pkt, header.UDPProtocolNumber, data)
		}
	}
	return 0, true
}

func isFirstFragment(pkt *stack.PacketBuffer) bool {
	h := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		return header.IPv4(h).FragmentOffset() == 0
	}
	return len(h) >= header.IPv6MinimumSize+header.IPv6FragmentHeaderSize &&
		binary.BigEndian.Uint16(h[len(h)-6:])>>3 == 0
}

func (o *Observer) countRequest(is bool) {
	if is {
		o.mu.Lock()
		o.neighborRequests++
		o.mu.Unlock()
	}
}

func (o *Observer) countSent(pkt *stack.PacketBuffer, protocol tcpip.TransportProtocolNumber, transport []byte) {
	if len(transport) < header.UDPMinimumSize {
		return
	}
	key := outgoingKey(pkt, protocol, transport)
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.find(&key)
	if r == nil {
		if protocol != header.TCPProtocolNumber {
			return
		}
		// A SYN-ACK of ours: the connection is accepted only later, and by then its
		// first sequence number has gone by.
		r = o.addUnclaimed(key)
	}
	r.SynsSent++
	now := o.now()
	if protocol == header.UDPProtocolNumber {
		if r.datagrams == nil {
			r.datagrams = &datagrams{}
		}
		r.datagrams.sent(header.UDP(transport), now)
		return
	}
	r.synAt = now
	// Another number is another connection of the same two ends.
	if r.start(header.TCP(transport).SequenceNumber()) {
		r.Acked, r.Handshake, r.FinReceived = 0, 0, false
	}
}

// outgoingKey is the flow of a packet of ours.
func outgoingKey(pkt *stack.PacketBuffer, protocol tcpip.TransportProtocolNumber, transport []byte) FlowKey {
	key := FlowKey{
		Protocol:   uint8(protocol),
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
	return key
}

// countData watches segments with payload or FIN for a path MTU that nobody tells of; false
// for one that must not leave.
func (o *Observer) countData(pkt *stack.PacketBuffer, segment header.TCP) (uint32, bool) {
	key := outgoingKey(pkt, header.TCPProtocolNumber, segment)
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.find(&key)
	if r == nil {
		return 0, true
	}
	r.advance(segmentEnd(segment, pkt.Data().Size()))
	size := packetSize(pkt)
	if r.limit != 0 && size > int(r.limit) {
		return r.limit, false
	}
	return r.stalled(segment.SequenceNumber(), key.Version, size), true
}

func (o *Observer) addUnclaimed(key FlowKey) *record {
	if len(o.unclaimed) >= unclaimedLimit {
		if r := o.flows[o.unclaimed[0]]; r != nil && !r.claimed {
			o.forget(o.unclaimed[0])
		}
		o.unclaimed = o.unclaimed[1:]
	}
	r := &record{}
	o.flows[key] = r
	o.unclaimed = append(o.unclaimed, key)
	return r
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
	key := p.flow()
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.find(&key)
	if r == nil {
		if o.hairpin(&key, p, mac) {
			return false
		}
		required := o.requiredFor(&key)
		if p.ttl < required {
			return false
		}
		if !isFirstSYN(p) {
			return true
		}
		// Perhaps for a listener; its endpoint comes later, and asks what the SYN said.
		r = o.addUnclaimed(key)
		r.minTTL = required
	}
	if r.tooFar(p.ttl) {
		return false
	}
	r.FramesReceived++
	r.PeerTTL = p.ttl
	if p.protocol == header.TCPProtocolNumber && len(p.segment) >= header.TCPMinimumSize {
		r.segment(header.TCP(p.segment), p.ttl)
	}
	return true
}

func isFirstSYN(p *parsed) bool {
	return p.protocol == header.TCPProtocolNumber && len(p.segment) >= header.TCPMinimumSize &&
		header.TCP(p.segment).Flags()&(header.TCPFlagSyn|header.TCPFlagAck|header.TCPFlagRst) == header.TCPFlagSyn
}

func (r *record) segment(tcp header.TCP, ttl uint8) {
	flags := tcp.Flags()
	if flags&header.TCPFlagRst != 0 {
		r.Resets++
		r.ResetTTL = ttl
	}
	if flags&header.TCPFlagFin != 0 {
		r.FinReceived = true
	}
	if offset := int(tcp.DataOffset()); flags&header.TCPFlagSyn != 0 && offset >= header.TCPMinimumSize && offset <= len(tcp) {
		options := header.ParseSynOptions(tcp.Options(), flags&header.TCPFlagAck != 0)
		r.PeerMSS, r.Timestamps = options.MSS, options.TS
	}
	r.steadyWindow(tcp, r.acknowledges(tcp))
}

// acknowledges is whether a segment acknowledges something new.
func (r *record) acknowledges(tcp header.TCP) bool {
	if tcp.Flags()&header.TCPFlagAck == 0 {
		return false
	}
	ahead := r.sequence.acknowledge(tcp.AckNumber())
	if ahead == 0 {
		return false
	}
	if r.Acked == 0 {
		r.Handshake = time.Since(r.synAt)
	}
	r.Acked += uint64(ahead)
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
