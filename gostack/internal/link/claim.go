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
