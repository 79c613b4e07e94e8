// Package link is the stack's edge: the link endpoint between gVisor and the frames of a packet socket.
//
// It differs from gVisor's channel endpoint in what this use needs: the largest
// segment is 64 KiB and not 32; the outgoing queue wakes a sleeping drainer once
// and not once a packet; a full queue is counted and told to the sender; frames
// that the kernel has not vouched for are verified here; and it remembers, flow
// by flow, what was seen on the wire (observer.go).
package link

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// gsoMaxSize is the largest packet handed to the kernel in one piece: what fits
// a 16-bit IP length, less room for headers (as include/linux/netdevice.h's GSO_LEGACY_MAX_SIZE).
const gsoMaxSize = 65536 - 200

// Endpoint implements stack.LinkEndpoint and stack.GSOEndpoint over queues of frames.
type Endpoint struct {
	Observer *Observer
	Counters Counters

	queue    *queue
	onRoom   func()
	arrivals atomic.Pointer[arrivals]
	hops     *Hops
	assigned assigned
	guests   guests
	// fromGuest are packets of this stack's flows that arrived on another stack's link.
	fromGuest visitors
	ethernet  bool
	gso       bool

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
	mac        tcpip.LinkAddress
	mtu        uint32
}

// Counters are of frames at this edge; bytes are without the virtio-net header.
type Counters struct {
	FramesIn, FramesOut, BytesIn, BytesOut atomic.Uint64
	Malformed, BadChecksum, QueueFull      atomic.Uint64
	NoRoute                                atomic.Uint64 // packets without a next hop
}

// New makes an endpoint. mtu is the IP MTU; an empty mac means a link without Ethernet
// header. onRoom is called when there is room again after Crowded said otherwise.
func New(mtu uint32, mac tcpip.LinkAddress, gso bool, onRoom func()) (*Endpoint, error) {
	q, err := newQueue()
	if err != nil {
		return nil, err
	}
	e := &Endpoint{queue: q, onRoom: onRoom, ethernet: mac != "", gso: gso, mac: mac, mtu: mtu}
	if e.ethernet {
		// gVisor's ethernet wrapper takes its header off this number again.
		e.mtu += header.EthernetMinimumSize
	}
	e.hops = newHops(e)
	e.Observer = newObserver(e)
	return e, nil
}

// WakeFD is the eventfd that is written when frames wait and a drain came back empty before.
func (e *Endpoint) WakeFD() int { return e.queue.wake }

// Queued counts the frames that wait to be drained.
func (e *Endpoint) Queued() int { return e.queue.length() }

// HandOver wakes who polls WakeFD and has found nothing to drain, though the caller attends.
func (e *Endpoint) HandOver() { e.queue.hand() }

// Attend keeps the poller of WakeFD asleep: the calling thread sends what it queues, and then calls
// Leave, or LeaveQueued where a timer sends it.
func (e *Endpoint) Attend() { e.queue.attend() }

// Leave ends Attend, and wakes the poller where frames are still queued.
func (e *Endpoint) Leave() { e.queue.leave() }

// LeaveQueued ends Attend, and leaves the frames queued.
func (e *Endpoint) LeaveQueued() { e.queue.leaveQuietly() }

// Rouse wakes who polls WakeFD.
func (e *Endpoint) Rouse() { e.queue.rouse() }

// Crowded reports whether a sender of datagrams should wait for room in the queue.
func (e *Endpoint) Crowded() bool { return e.queue.crowded() }

// WritePackets queues packets for the next drain.
func (e *Endpoint) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	all := pkts.AsSlice()
	ours := all
	for i, pkt := range all {
		extra, leaves := e.leaves(pkt)
		if leaves && extra == nil {
			continue
		}
		var extras []*stack.PacketBuffer
		ours, extras = e.thoseThatLeave(all, i, extra, leaves)
		defer release(extras)
		break
	}
	if n := e.queue.push(ours); n < len(ours) {
		e.Counters.QueueFull.Add(uint64(len(ours) - n))
		return min(n, len(all)), &tcpip.ErrNoBufferSpace{}
	}
	return len(all), nil
}

// solicited is false for what a host says of its own accord: this host's kernel owns
// the address, so echo replies, ICMP errors, multicast reports and the like are its
// to send. What is left is asked for by a connection: its segments, its next hop, and
// answers for an address that the kernel does not have.
func (e *Endpoint) solicited(pkt *stack.PacketBuffer) bool {
	switch pkt.TransportProtocolNumber {
	case header.TCPProtocolNumber, header.UDPProtocolNumber:
		return true
	}
	// Answers are to requests that were let in.
	if pkt.NetworkProtocolNumber == header.ARPProtocolNumber || isNeighborDiscovery(pkt) {
		return true
	}
	// A later fragment has no transport protocol number of its own.
	return isFragment(pkt)
}

func isNeighborDiscovery(pkt *stack.PacketBuffer) bool {
	icmp := icmpv6Of(pkt, 1)
	return icmp != nil && (icmp.Type() == header.ICMPv6NeighborSolicit || icmp.Type() == header.ICMPv6NeighborAdvert)
}

func isFragment(pkt *stack.PacketBuffer) bool {
	h := pkt.NetworkHeader().Slice()
	switch {
	case pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber && len(h) >= header.IPv4MinimumSize:
		ip := header.IPv4(h)
		return (ip.More() || ip.FragmentOffset() != 0) && ip.TransportProtocol() == header.UDPProtocolNumber
	case pkt.NetworkProtocolNumber == header.IPv6ProtocolNumber && len(h) >= header.IPv6MinimumSize:
		return h[6] == uint8(header.IPv6FragmentExtHdrIdentifier)
	}
	return false
}

// leaves looks at a packet once, on its way to the queue; false where it must not leave. extra is
// sent after it.
func (e *Endpoint) leaves(pkt *stack.PacketBuffer) (extra *stack.PacketBuffer, _ bool) {
	if !e.solicited(pkt) {
		return nil, false
	}
	if pkt.EgressRoute.RemoteLinkAddress != "" {
		e.countRequest(pkt)
		return nil, true
	}
	if (e.ethernet || e.Observer.elsewhere.Load()) && !e.direct(pkt) {
		return nil, false
	}
	return e.observe(pkt)
}

// thoseThatLeave is for a batch of which the packets before the one at first leave alone. The
// caller releases extras.
func (e *Endpoint) thoseThatLeave(
	pkts []*stack.PacketBuffer, first int, extra *stack.PacketBuffer, leaves bool,
) (ours, extras []*stack.PacketBuffer) {
	ours = append([]*stack.PacketBuffer(nil), pkts[:first]...)
	for i, pkt := range pkts[first:] {
		if i > 0 {
			extra, leaves = e.leaves(pkt)
		}
		if leaves {
			ours = append(ours, pkt)
		}
		if extra != nil {
			ours, extras = append(ours, extra), append(extras, extra)
		}
	}
	return ours, extras
}

func release(pkts []*stack.PacketBuffer) {
	for _, pkt := range pkts {
		pkt.DecRef()
	}
}

// deliver hands one packet buffer to the network layer.
func (e *Endpoint) deliver(pkt *stack.PacketBuffer, protocol tcpip.NetworkProtocolNumber) {
	e.mu.RLock()
	d := e.dispatcher
	e.mu.RUnlock()
	if d != nil {
		d.DeliverNetworkPacket(protocol, pkt)
	}
}

// Close drops what is queued and closes the eventfd; a drain in progress keeps its own packets.
func (e *Endpoint) Close() {
	e.guests.close(e)
	e.queue.close()
	e.hops.drop()
}

// Hops are the link's next hops.
func (e *Endpoint) Hops() *Hops { return e.hops }

// ResolveBy says who resolves next hops; before the first packet.
func (e *Endpoint) ResolveBy(resolver Resolver) { e.hops.resolver = resolver }

// Attach implements stack.NetworkLinkEndpoint.
func (e *Endpoint) Attach(dispatcher stack.NetworkDispatcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatcher = dispatcher
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (e *Endpoint) IsAttached() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.dispatcher != nil
}

// MTU implements stack.NetworkLinkEndpoint.
func (e *Endpoint) MTU() uint32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.mtu
}

// IPMTU is the IP MTU, without the Ethernet header that gVisor's wrapper takes off again.
func (e *Endpoint) IPMTU() uint32 {
	mtu := e.MTU()
	if e.ethernet {
		mtu -= header.EthernetMinimumSize
	}
	return mtu
}

// SetIPMTU changes the IP MTU of the link. Connections follow with their next segment.
func (e *Endpoint) SetIPMTU(mtu uint32) {
	if e.ethernet {
		mtu += header.EthernetMinimumSize
	}
	e.SetMTU(mtu)
}

// SetMTU implements stack.NetworkLinkEndpoint.
func (e *Endpoint) SetMTU(mtu uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mtu = mtu
}

// LinkAddress implements stack.NetworkLinkEndpoint.
func (e *Endpoint) LinkAddress() tcpip.LinkAddress {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.mac
}

// SetLinkAddress implements stack.NetworkLinkEndpoint.
func (e *Endpoint) SetLinkAddress(mac tcpip.LinkAddress) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mac = mac
}

// Capabilities claims receive checksums and not transmit ones: gVisor overwrites a
// packet's verdict from this flag (stack/nic.go), so inject.go verifies what the
// kernel has not; and with the transmit flag SYNs would leave without any checksum.
func (e *Endpoint) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// GSOMaxSize implements stack.GSOEndpoint.
func (e *Endpoint) GSOMaxSize() uint32 { return gsoMaxSize }

// SupportedGSO implements stack.GSOEndpoint.
func (e *Endpoint) SupportedGSO() stack.SupportedGSO {
	if e.gso {
		return stack.HostGSOSupported
	}
	return stack.GSONotSupported
}

// MaxHeaderLength implements stack.NetworkLinkEndpoint: the Ethernet header is its wrapper's.
func (*Endpoint) MaxHeaderLength() uint16 { return 0 }

// Wait implements stack.NetworkLinkEndpoint: there are no goroutines here.
func (*Endpoint) Wait() {}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (*Endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader implements stack.NetworkLinkEndpoint.
func (*Endpoint) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.NetworkLinkEndpoint.
func (*Endpoint) ParseHeader(*stack.PacketBuffer) bool { return true }

// SetOnCloseAction implements stack.NetworkLinkEndpoint.
func (*Endpoint) SetOnCloseAction(func()) {}
