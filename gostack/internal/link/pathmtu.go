package link

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// The size of a connection's segments is decided here, for each packet as it leaves: gVisor hands
// over up to 64 KiB, and the kernel or the card cuts that by the MSS in the virtio-net header.
// gVisor's own MSS only goes down (tcp/snd.go, updateMaxPayloadSize) and does not count the SACK
// blocks of a segment with payload. gVisor still has to retransmit what was too large
// (netstack/pathmtu.go).

const (
	// minPathMTUv4 is net.ipv4.route.min_pmtu. A lower value is raised to it, as the kernel does
	// (net/ipv4/route.c, __ip_rt_update_pmtu): real paths are wider, forged messages are not.
	minPathMTUv4 = 552
	// minPathMTUv6 is IPv6's minimum link MTU; a message below it is discarded (RFC 8201, 4).
	minPathMTUv6 = 1280

	// mtuExpires is net.ipv4.route.mtu_expires, and PMTU_RAISE_TIMER of RFC 8899.
	mtuExpires = 600 * time.Second
)

// pathMTU is how large the packets of a TCP connection may be.
type pathMTU struct {
	ceiling uint32 // of the last segment: what the link, the kernel's route and the program allow
	found   uint32 // what a router or a black hole has shown; 0 is nothing
	// hole is set when a black hole was found: only a probe that arrived raises found then.
	hole   bool
	search search
}

// largest is the size of the largest packet that may be sent.
func (p *pathMTU) largest() uint32 {
	if p.found != 0 {
		return min(p.ceiling, p.found)
	}
	return p.ceiling
}

// follow takes the ceiling of a segment that is sent. When it is higher than before, connections
// grow up to it at once, as the kernel's do; those with a narrower path probe at once.
func (p *pathMTU) follow(ceiling uint32, now func() time.Time) {
	if ceiling == p.ceiling {
		return
	}
	if p.found != 0 && ceiling > p.ceiling {
		p.search = search{begins: now()}
	}
	p.ceiling = ceiling
}

// lower sets what was found; a larger size is tried from then on.
func (p *pathMTU) lower(mtu uint32, hole bool, then time.Time) {
	p.found, p.hole, p.search = mtu, hole, search{begins: then}
}

// cut sets the size of the segments that a packet is cut into. The peer's MSS does not count TCP's
// options, a path MTU does (RFC 6691).
func (r *record) cut(pkt *stack.PacketBuffer) {
	transport := len(pkt.TransportHeader().Slice())
	mss := int(r.pmtu.largest()) - len(pkt.NetworkHeader().Slice()) - transport
	if r.PeerMSS != 0 {
		mss = min(mss, int(r.PeerMSS)-(transport-header.TCPMinimumSize))
	} else {
		mss = min(mss, int(pkt.GSOOptions.MSS))
	}
	pkt.GSOOptions.MSS = uint16(max(mss, 1))
}

// tooBig takes an accepted "fragmentation needed" or "packet too big"; the lock is held.
func (o *Observer) tooBig(r *record, version int, mtu uint32) {
	if version == 6 && mtu < minPathMTUv6 {
		return
	}
	if version == 4 {
		mtu = max(mtu, minPathMTUv4)
	}
	r.ICMPMTU = mtu
	if r.pmtu.ceiling == 0 {
		return // UDP, or nothing but a SYN was sent
	}
	now := o.now()
	if mtu >= r.pmtu.largest() {
		r.pmtu.refused(mtu, now, o.mtuExpires)
		return
	}
	r.pmtu.lower(mtu, false, now.Add(o.mtuExpires))
	r.resend()
}

// testPath takes what a segment from the peer says of the path; the lock is held.
func (o *Observer) testPath(r *record, tcp header.TCP) {
	r.pmtu.answer(tcp, o.now, o.mtuExpires)
	if r.stall.times == 0 || r.stall.number == r.acked {
		return
	}
	if size := r.stall.progress(r.acked); size != 0 && size < r.pmtu.largest() {
		r.pmtu.lower(size, true, o.now())
		r.resend()
	}
}

// resend has gVisor retransmit what was too large. The caller may be inside gVisor, under its locks.
func (r *record) resend() {
	if r.tooLarge != nil {
		go r.tooLarge(r.pmtu.largest())
	}
}

// SetMTUExpires sets after how long a larger path MTU is tried again.
func (o *Observer) SetMTUExpires(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mtuExpires = d
}

// MTUExpires is what SetMTUExpires has set, or 600 s.
func (o *Observer) MTUExpires() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mtuExpires
}
