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
	tooBig := icmp.Type() == header.ICMPv4DstUnreachable && icmp.Code() == header.ICMPv4FragmentationNeeded
	e := icmpError{p: p, kind: uint8(icmp.Type()), code: uint8(icmp.Code()), tooBig: tooBig}
	if tooBig {
		e.mtu = uint32(icmp.MTU())
	}
	return o.note(e, p.segment[header.ICMPv4MinimumSize:])
}

// incomingICMPv6 lets through errors, answers to the stack's own neighbour solicitations, and
// solicitations that the stack has to answer.
func (o *Observer) incomingICMPv6(p *parsed) bool {
	if p.fragment || len(p.segment) < 8 {
		return false
	}
	icmp := header.ICMPv6(p.segment)
	switch icmp.Type() {
	case header.ICMPv6NeighborAdvert:
		return o.edge.incomingAdvert(p)
	case header.ICMPv6NeighborSolicit:
		return o.edge.incomingSolicit(p)
	case header.ICMPv6DstUnreachable, header.ICMPv6TimeExceeded, header.ICMPv6ParamProblem:
		return o.note(icmpError{p: p, kind: uint8(icmp.Type()), code: uint8(icmp.Code())}, p.segment[8:])
	case header.ICMPv6PacketTooBig:
		return o.note(icmpError{p: p, kind: uint8(icmp.Type()), tooBig: true, mtu: icmp.MTU()}, p.segment[8:])
	}
	return false
}

type icmpError struct {
	p          *parsed
	kind, code uint8
	tooBig     bool // path MTU discovery at work: the stack sends less, nothing has failed
	mtu        uint32
}

// note records an error under the flow whose packet it quotes. False for an error that the stack
// must not get: of an unknown flow, or about a packet that the flow has not in flight.
func (o *Observer) note(e icmpError, quoted []byte) bool {
	key, transport, ok := quotedFlow(quoted)
	if !ok {
		return false
	}
	o.mu.Lock()
	r := o.flows[key]
	if r == nil || !r.quotes(key.Protocol, transport) {
		o.mu.Unlock()
		return false
	}
	if e.tooBig {
		o.tooBig(r, e.p.version, e.mtu)
		o.mu.Unlock()
		return false // gVisor accepts any MTU, down to segments of one byte
	}
	r.ICMPErrors++
	r.ICMPType, r.ICMPCode, r.ICMPVersion, r.ICMPTTL = e.kind, e.code, uint8(e.p.version), e.p.ttl
	r.ICMPSender = [16]byte{}
	copy(r.ICMPSender[:], e.p.source)
	fatal := r.fatal
	o.mu.Unlock()
	if fatal != nil {
		fatal()
	}
	// Of UDP the owner of the endpoint hears by fatal, once. Of TCP gVisor may hear too.
	return key.Protocol == uint8(header.TCPProtocolNumber)
}

// quotes is whether a flow may have sent the packet whose first eight bytes an ICMP error quotes.
// Whoever cannot see the flow's packets has to guess the number: SND.UNA <= SEQ < SND.NXT
// (RFC 5927, 4.1; the kernel also accepts SND.NXT, net/ipv4/tcp_ipv4.c, tcp_v4_err). While a
// connection is opened that is the number of the SYN alone.
func (r *record) quotes(protocol uint8, transport []byte) bool {
	if protocol == uint8(header.TCPProtocolNumber) {
		return r.inFlight(binary.BigEndian.Uint32(transport[4:]))
	}
	return r.datagrams != nil && r.datagrams.contains(header.UDP(transport), sinceStart())
}

// quotedFlow reads the packet inside an ICMP error. It may be cut short: its header and eight
// bytes of transport are all that RFC 792 promises. A later fragment has no ports there.
func quotedFlow(b []byte) (key FlowKey, transport []byte, ok bool) {
	at := 0
	switch {
	case len(b) >= header.IPv4MinimumSize && b[0]>>4 == 4:
		if header.IPv4(b).FragmentOffset() != 0 {
			return key, nil, false
		}
		key.Version, key.Protocol, at = 4, b[9], int(b[0]&15)*4
		copy(key.Local[:], b[12:16])
		copy(key.Remote[:], b[16:20])
	case len(b) >= header.IPv6MinimumSize && b[0]>>4 == 6:
		key.Version = 6
		copy(key.Local[:], b[8:24])
		copy(key.Remote[:], b[24:40])
		key.Protocol, at = quotedTransport(b)
	default:
		return key, nil, false
	}
	if at < header.IPv4MinimumSize || len(b) < at+8 {
		return key, nil, false
	}
	key.LocalPort = binary.BigEndian.Uint16(b[at:])
	key.RemotePort = binary.BigEndian.Uint16(b[at+2:])
	return key, b[at : at+8], true
}

// quotedTransport steps over the extension headers of a quoted IPv6 packet; at is the packet's end
// where there is no transport header.
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
			if at+8 > len(b) || binary.BigEndian.Uint16(b[at+2:])>>3 != 0 {
				return protocol, len(b)
			}
			protocol, at = b[at], at+8
		default:
			return protocol, at
		}
	}
	return protocol, at
}
