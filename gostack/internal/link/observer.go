package link

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Frames is what the wire showed of one flow: the truth behind an error code.
type Frames struct {
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

// Seen is Frames, and where the flow's packets go.
type Seen struct {
	Frames

	// NextHop is where the flow's packets go now, if its MAC need not be known it is invalid, and
	// NextHopMAC what the last frame was sent to.
	NextHop    netip.Addr
	NextHopMAC MAC
	HopState   stack.NeighborState
	// NeighborRequests and NeighborReplies are those for the next hop since the flow began to use
	// it, and Unanswered counts packets that were dropped because it did not answer.
	NeighborRequests, NeighborReplies, Unanswered uint32
	// LargestPacket is what the link, the path and the options allow.
	LargestPacket uint32
}

// unclaimedLimit bounds what a flood of SYNs at a listener makes the observer keep:
// connections on their way to be accepted. The oldest go first.
const unclaimedLimit = 4096

type record struct {
	Frames
	departure
	sequence
	datagrams *datagrams // UDP: those that were sent, from the first on
	synAt     time.Time
	claimed   bool // an endpoint watches it
	minTTL    uint8
	window    uint16 // what the last segment offered
	stall     stall
	pmtu      pathMTU
	limit     uint32
	// tooLarge is called when segments were sent that the path does not carry.
	tooLarge func(mtu uint32)
	fatal    func() // told of an ICMP error, so that a connect need not wait it out
}

// Observer watches the frames of known flows go by. gVisor turns what it sees into
// an error code; who sent it, with which TTL, is lost there.
type Observer struct {
	edge      *Endpoint
	routes    atomic.Pointer[routes]
	fragments fragments
	elsewhere atomic.Bool // some flow has had another stack's link
	now       func() time.Time

	mu         sync.Mutex
	mtuExpires time.Duration // after that long a path MTU that was lowered is tried again
	flows      map[FlowKey]*record
	unclaimed  []FlowKey // in the order of their SYNs; some are claimed or gone since
	closing    closing
	lastKey    FlowKey
	last       *record
	claimed    map[netip.Addr]struct{}
	required   map[FlowKey]uint8 // the least TTL, by a listener's address and port
}

func newObserver(edge *Endpoint) *Observer {
	o := &Observer{
		edge:       edge,
		now:        time.Now,
		mtuExpires: mtuExpires,
		flows:      make(map[FlowKey]*record),
		claimed:    make(map[netip.Addr]struct{}),
		required:   make(map[FlowKey]uint8),
	}
	o.SetRoutes(nil)
	return o
}

// Watch begins a flow's record. fatal is called, with no lock of the caller's to
// be taken in it, when an ICMP error about the flow arrives; tooLarge, in a goroutine of its own,
// when a TCP connection has sent segments that its path does not carry. Both may be nil.
func (o *Observer) Watch(key FlowKey, fatal func(), tooLarge func(mtu uint32)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.flows[key]
	if r == nil {
		r = &record{}
		o.flows[key] = r
	}
	r.claimed, r.fatal, r.tooLarge = true, fatal, tooLarge
	o.closing.remove(key)
}

// LimitSize bounds the packets of a watched TCP connection; 0 is no limit.
func (o *Observer) LimitSize(key FlowKey, size uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.flows[key]; r != nil {
		r.limit = size
	}
}

// Forget ends a flow's record. Where its last segments may still leave (closing), they take the
// path that it had, and fit it.
func (o *Observer) Forget(key FlowKey, closing bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.flows[key]; closing && r != nil && (r.path != nil || r.pmtu.found != 0) {
		delete(o.flows, key)
		o.last = nil
		o.closing.add(key, r)
		return
	}
	o.forget(key)
}

func (o *Observer) forget(key FlowKey) {
	if r := o.flows[key]; r != nil {
		r.end(key)
	}
	delete(o.flows, key)
	o.last = nil
}

// See returns what was seen so far; all zero for a flow that is not watched.
func (o *Observer) See(key FlowKey) Seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.flows[key]; r != nil {
		seen := Seen{Frames: r.Frames}
		r.describe(&seen, o.edge, key.Version)
		return seen
	}
	return Seen{}
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
		o.testPath(r, header.TCP(p.segment))
		r.confirmHop(key.local())
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
	acknowledges := r.acknowledges(tcp)
	r.progressed = r.progressed || acknowledges
	r.steadyWindow(tcp, acknowledges)
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
