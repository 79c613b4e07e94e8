package link

import (
	"bytes"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// askedAgain is within which time a second request for one address, from the same neighbour, is
// taken for a sign that the kernel may not answer: it does so within microseconds, and a
// neighbour asks again after one second.
const askedAgain = 3 * time.Second

// askersKept bounds the requests that are remembered.
const askersKept = 1024

// question is a request for an address of this stack.
type question struct{ asker, target netip.Addr }

// assigned are addresses that the interface has in the kernel too, which answers for them, unless
// rules of the host keep the requests from it.
type assigned struct {
	mu        sync.Mutex
	addresses map[netip.Addr]struct{}
	asked     map[question]time.Time
}

// Assign says whether the kernel has an address on this interface.
func (e *Endpoint) Assign(a netip.Addr, is bool) {
	e.assigned.mu.Lock()
	defer e.assigned.mu.Unlock()
	if !is {
		delete(e.assigned.addresses, a)
		return
	}
	if e.assigned.addresses == nil {
		e.assigned.addresses = make(map[netip.Addr]struct{})
		e.assigned.asked = make(map[question]time.Time)
	}
	e.assigned.addresses[a] = struct{}{}
}

// again reports whether the stack has to answer a request, since it is not the first.
func (a *assigned) again(asker, target netip.Addr, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ours := a.addresses[target]; !ours || asker.IsUnspecified() {
		return false
	}
	q := question{asker, target}
	before, found := a.asked[q]
	if !found && len(a.asked) >= askersKept {
		clear(a.asked)
	}
	a.asked[q] = now
	return found && now.Sub(before) <= askedAgain
}

// answers reports whether the stack answers a request for an address.
func (e *Endpoint) answers(asker, target []byte) bool {
	if e.Observer.claims(target) {
		return true
	}
	from, ok1 := netip.AddrFromSlice(asker)
	to, ok2 := netip.AddrFromSlice(target)
	return ok1 && ok2 && e.assigned.again(from, to, time.Now())
}

// incomingARP decides whether the stack sees an ARP packet. Requests are the kernel's to answer,
// which has the address. An announcement of another MAC is not for gVisor, which would ignore
// it (network/arp): the entry is removed, and the next packet resolves it.
func (e *Endpoint) incomingARP(packet, to []byte) bool {
	if len(packet) < header.ARPSize {
		return false
	}
	arp := header.ARP(packet)
	if !arp.IsValid() {
		return false
	}
	sender, target := arp.ProtocolAddressSender(), arp.ProtocolAddressTarget()
	gratuitous := bytes.Equal(sender, target)
	reply := arp.Op() == header.ARPReply && to[0]&1 == 0 && !gratuitous
	from := netip.AddrFrom4([4]byte(sender))
	if e.hops.announced(from, macOf(tcpip.LinkAddress(arp.HardwareAddressSender())), !gratuitous) {
		return false
	}
	switch arp.Op() {
	case header.ARPReply:
		if reply {
			e.hops.answered(from)
		}
		return true
	case header.ARPRequest:
		return !gratuitous && e.answers(sender, target)
	}
	return false
}

// incomingAdvert decides whether the stack sees a neighbour advertisement. One that says that it
// overrides the MAC that is known (RFC 4861, 4.4) has the next packet resolve it.
func (e *Endpoint) incomingAdvert(p *parsed) bool {
	if p.ttl != header.NDPHopLimit || len(p.segment) < header.ICMPv6NeighborAdvertMinimumSize || !icmpv6Verified(p) {
		return false
	}
	advert := header.NDPNeighborAdvert(header.ICMPv6(p.segment).MessageBody())
	raw := advert.TargetAddress()
	target, _ := netip.AddrFromSlice(raw.AsSlice())
	if advert.OverrideFlag() {
		if mac := targetMAC(advert); mac.Known() && e.hops.announced(target, mac, advert.SolicitedFlag()) {
			return false
		}
	}
	if advert.SolicitedFlag() {
		e.hops.answered(target)
	}
	return true
}

// incomingSolicit decides whether the stack sees a neighbour solicitation.
func (e *Endpoint) incomingSolicit(p *parsed) bool {
	const target = header.ICMPv6HeaderSize + 4
	if len(p.segment) < target+header.IPv6AddressSize {
		return false
	}
	return e.answers(p.source, p.segment[target:target+header.IPv6AddressSize])
}

func icmpv6Verified(p *parsed) bool {
	icmp := header.ICMPv6(p.segment)
	return icmp.Checksum() == header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: icmp, Src: tcpip.AddrFromSlice(p.source), Dst: tcpip.AddrFromSlice(p.destination),
	})
}

// targetMAC is the advertisement's option with that; 0 where it has none.
func targetMAC(advert header.NDPNeighborAdvert) MAC {
	it, err := advert.Options().Iter(false)
	if err != nil {
		return 0
	}
	for {
		option, done, err := it.Next()
		if done || err != nil {
			return 0
		}
		if mac, ok := option.(header.NDPTargetLinkLayerAddressOption); ok {
			return macOf(mac.EthernetAddress())
		}
	}
}

// announced is given the MAC that a frame names for an address. It is true where that is not the
// one known: it is forgotten then, and the answer to a new question counts. An answer to
// a question (prompted) does not replace another within lockTime.
func (t *Hops) announced(a netip.Addr, mac MAC, prompted bool) bool {
	h := t.find(a)
	if h == nil || h.State() == stack.Static {
		return false
	}
	known := h.MAC()
	if !known.Known() || known == mac {
		return false
	}
	if h.State() == stack.Incomplete && prompted {
		return false // in doubt: this is the answer
	}
	t.mu.Lock()
	recent := time.Since(h.changed) < lockTime
	t.mu.Unlock()
	if !prompted || !recent {
		t.Forget(a)
	}
	return true
}

// answered counts a reply to a request for a next hop.
func (t *Hops) answered(a netip.Addr) {
	if h := t.find(a); h != nil {
		h.replies.Add(1)
	}
}

// countRequest counts an ARP request or neighbour solicitation that leaves.
func (e *Endpoint) countRequest(pkt *stack.PacketBuffer) {
	var raw []byte
	if pkt.NetworkProtocolNumber == header.ARPProtocolNumber {
		arp := header.ARP(pkt.NetworkHeader().Slice())
		if arp.Op() != header.ARPRequest {
			return
		}
		raw = arp.ProtocolAddressTarget()
	} else {
		const target = header.ICMPv6HeaderSize + 4
		icmp := icmpv6Of(pkt, target+header.IPv6AddressSize)
		if icmp == nil || icmp.Type() != header.ICMPv6NeighborSolicit {
			return
		}
		raw = icmp[target : target+header.IPv6AddressSize]
	}
	if a, ok := netip.AddrFromSlice(raw); ok {
		if h := e.hops.find(a); h != nil {
			h.requests.Add(1)
		}
	}
}

// confirm tells gVisor's cache that a next hop forwards: a connection over it has made progress
// (RFC 4861, 7.3.1). gVisor has a call for that on its own routes alone, which have no next hop
// here, so it gets the answer that the next hop would give.
func (e *Endpoint) confirm(h *Hop, local netip.Addr) {
	mac := h.MAC()
	if !mac.Known() || h.Address.Is4() != local.Is4() {
		return
	}
	protocol, packet := header.ARPProtocolNumber, arpReply(h.Address, mac)
	if h.Address.Is6() {
		protocol, packet = header.IPv6ProtocolNumber, neighborAdvert(h.Address, local, mac)
	}
	frame := e.withLinkHeader(packet, protocol)
	go func() {
		pkt := stackPacket(frame)
		e.deliver(pkt, protocol)
		pkt.DecRef()
	}()
}

func arpReply(a netip.Addr, mac MAC) []byte {
	arp := header.ARP(make([]byte, header.ARPSize))
	arp.SetIPv4OverEthernet()
	arp.SetOp(header.ARPReply)
	mac.put(arp.HardwareAddressSender())
	copy(arp.ProtocolAddressSender(), a.AsSlice())
	return arp
}

func neighborAdvert(a, local netip.Addr, mac MAC) []byte {
	size := header.ICMPv6NeighborAdvertMinimumSize + 8
	packet := make([]byte, header.IPv6MinimumSize+size)
	from, to := tcpip.AddrFromSlice(a.AsSlice()), tcpip.AddrFromSlice(local.AsSlice())
	header.IPv6(packet).Encode(&header.IPv6Fields{
		PayloadLength:     uint16(size),
		TransportProtocol: header.ICMPv6ProtocolNumber,
		HopLimit:          header.NDPHopLimit,
		SrcAddr:           from,
		DstAddr:           to,
	})
	icmp := header.ICMPv6(packet[header.IPv6MinimumSize:])
	icmp.SetType(header.ICMPv6NeighborAdvert)
	advert := header.NDPNeighborAdvert(icmp.MessageBody())
	advert.SetSolicitedFlag(true)
	advert.SetTargetAddress(from)
	raw := mac.Bytes()
	advert.Options().Serialize(header.NDPOptionsSerializer{
		header.NDPTargetLinkLayerAddressOption(raw[:]),
	})
	icmp.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp, Src: from, Dst: to}))
	return packet
}
