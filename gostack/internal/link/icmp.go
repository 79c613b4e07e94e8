package link

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// incomingICMPv4 lets through errors alone: echo requests are for the kernel, which owns the address.
func (o *Observer) incomingICMPv4(p *parsed) bool {
	if p.fragment || len(p.segment) < header.ICMPv4MinimumSize {
		return false
	}
	icmp := header.ICMPv4(p.segment)
	switch icmp.Type() {
	case header.ICMPv4DstUnreachable, header.ICMPv4TimeExceeded, header.ICMPv4ParamProblem:
	default:
		return false
	}
	mtu := uint32(0)
	if icmp.Type() == header.ICMPv4DstUnreachable && icmp.Code() == header.ICMPv4FragmentationNeeded {
		mtu = uint32(icmp.MTU())
	}
	o.icmpError(p, uint8(icmp.Type()), uint8(icmp.Code()), mtu, p.segment[header.ICMPv4MinimumSize:])
	return true
}

// incomingICMPv6 lets through errors and the answers to our own neighbour solicitations.
func (o *Observer) incomingICMPv6(p *parsed) bool {
	if p.fragment || len(p.segment) < 8 {
		return false
	}
	icmp := header.ICMPv6(p.segment)
	switch icmp.Type() {
	case header.ICMPv6NeighborAdvert:
		o.countReply()
		return true
	case header.ICMPv6DstUnreachable, header.ICMPv6TimeExceeded, header.ICMPv6ParamProblem:
		o.icmpError(p, uint8(icmp.Type()), uint8(icmp.Code()), 0, p.segment[8:])
		return true
	case header.ICMPv6PacketTooBig:
		o.icmpError(p, uint8(icmp.Type()), uint8(icmp.Code()), icmp.MTU(), p.segment[8:])
		return true
	}
	return false
}

func (o *Observer) countReply() {
	o.mu.Lock()
	o.neighborReplies++
	o.mu.Unlock()
}

// icmpError notes an error under the flow whose packet it quotes.
func (o *Observer) icmpError(p *parsed, icmpType, code uint8, mtu uint32, quoted []byte) {
	key, ok := quotedFlow(quoted)
	if !ok {
		return
	}
	o.mu.Lock()
	r := o.flows[key]
	var fatal func()
	if r != nil {
		if mtu != 0 {
			r.ICMPMTU = mtu
		} else {
			r.ICMPErrors++
			r.ICMPType, r.ICMPCode, r.ICMPVersion, r.ICMPTTL = icmpType, code, uint8(p.version), p.ttl
			r.ICMPSender = [16]byte{}
			copy(r.ICMPSender[:], p.source)
			fatal = r.fatal
		}
	}
	o.mu.Unlock()
	if fatal != nil {
		fatal()
	}
}

// quotedFlow reads the packet inside an ICMP error, which may be cut short: its
// header and eight bytes are all that RFC 792 promises.
func quotedFlow(b []byte) (FlowKey, bool) {
	var key FlowKey
	at := 0
	switch {
	case len(b) >= header.IPv4MinimumSize && b[0]>>4 == 4:
		key.Version, key.Protocol, at = 4, b[9], int(b[0]&15)*4
		copy(key.Local[:], b[12:16])
		copy(key.Remote[:], b[16:20])
	case len(b) >= header.IPv6MinimumSize && b[0]>>4 == 6:
		key.Version = 6
		copy(key.Local[:], b[8:24])
		copy(key.Remote[:], b[24:40])
		key.Protocol, at = quotedTransport(b)
	default:
		return key, false
	}
	if len(b) < at+4 {
		return key, false
	}
	key.LocalPort = binary.BigEndian.Uint16(b[at:])
	key.RemotePort = binary.BigEndian.Uint16(b[at+2:])
	return key, true
}

// quotedTransport steps over the extension headers of a quoted IPv6 packet.
func quotedTransport(b []byte) (protocol uint8, at int) {
	protocol, at = b[6], header.IPv6MinimumSize
	for range extensionLimit {
		switch header.IPv6ExtensionHeaderIdentifier(protocol) {
		case header.IPv6HopByHopOptionsExtHdrIdentifier, header.IPv6RoutingExtHdrIdentifier,
			header.IPv6DestinationOptionsExtHdrIdentifier:
			if at+2 > len(b) {
				return protocol, len(b)
			}
			protocol, at = b[at], at+8+8*int(b[at+1])
		case header.IPv6FragmentExtHdrIdentifier:
			if at+8 > len(b) {
				return protocol, len(b)
			}
			protocol, at = b[at], at+8
		default:
			return protocol, at
		}
	}
	return protocol, at
}
