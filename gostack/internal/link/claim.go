package link

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Claim says that an address is this stack's alone: the host's kernel does not have
// it, so that who asks for its MAC is answered from here.
func (o *Observer) Claim(a netip.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.claimed[a] = struct{}{}
}

// claims takes the 4 or 16 bytes of an address.
func (o *Observer) claims(raw []byte) bool {
	a, ok := netip.AddrFromSlice(raw)
	if !ok {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, claimed := o.claimed[a]
	return claimed
}

// incomingARP lets in replies, and requests for a claimed address. Other requests are
// the kernel's, which owns the address.
func (o *Observer) incomingARP(packet []byte) bool {
	if len(packet) < header.ARPSize {
		return false
	}
	arp := header.ARP(packet)
	switch arp.Op() {
	case header.ARPReply:
		o.countReply()
		return true
	case header.ARPRequest:
		return o.claims(arp.ProtocolAddressTarget())
	}
	return false
}

// solicitsClaimed reads a neighbour solicitation, from its ICMPv6 header on.
func (o *Observer) solicitsClaimed(icmp header.ICMPv6) bool {
	const target = header.ICMPv6HeaderSize + 4
	return len(icmp) >= target+16 && o.claims(icmp[target:target+16])
}

// answersForClaimed is true of our ARP replies and neighbour advertisements for claimed addresses.
func (o *Observer) answersForClaimed(pkt *stack.PacketBuffer) bool {
	if pkt.NetworkProtocolNumber == header.ARPProtocolNumber {
		arp := header.ARP(pkt.NetworkHeader().Slice())
		return arp.Op() == header.ARPReply && o.claims(arp.ProtocolAddressSender())
	}
	icmp := icmpv6Of(pkt, header.ICMPv6NeighborAdvertMinimumSize)
	return icmp != nil && icmp.Type() == header.ICMPv6NeighborAdvert && o.solicitsClaimed(icmp)
}

// icmpv6Of is the first size bytes of an outgoing ICMPv6 message, or nil. gVisor writes
// its neighbour discovery as bare payload, with neither a transport header nor a
// transport protocol set (network/ipv6/ndp.go, sendNDPNS).
func icmpv6Of(pkt *stack.PacketBuffer, size int) header.ICMPv6 {
	h := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber != header.IPv6ProtocolNumber ||
		len(h) < header.IPv6MinimumSize || h[6] != uint8(header.ICMPv6ProtocolNumber) {
		return nil
	}
	if icmp := pkt.TransportHeader().Slice(); len(icmp) >= size {
		return header.ICMPv6(icmp)
	} else if len(icmp) > 0 {
		// The rest of the message may lie in the payload.
		if rest, ok := pkt.Data().PullUp(size - len(icmp)); ok {
			return append(append(header.ICMPv6(nil), icmp...), rest...)
		}
		return nil
	}
	if b, ok := pkt.Data().PullUp(size); ok {
		return header.ICMPv6(b)
	}
	return nil
}
