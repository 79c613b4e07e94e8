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

// incomingICMPv6 lets through errors, the answers to our own neighbour solicitations, and
// solicitations for a claimed address.
func (o *Observer) incomingICMPv6(p *parsed) bool {
	if p.fragment || len(p.segment) < 8 {
		return false
	}
	icmp := header.ICMPv6(p.segment)
	switch icmp.Type() {
	case header.ICMPv6NeighborAdvert:
		o.countReply()
		return true
	case header.ICMPv6NeighborSolicit:
		return o.solicitsClaimed(icmp)
	case header.ICMPv6DstUnreachable, header.ICMPv6TimeExceeded, header.ICMPv6ParamProblem:
		return o.note(icmpError{p: p, kind: uint8(icmp.Type()), code: uint8(icmp.Code())}, p.segment[8:])
	case header.ICMPv6PacketTooBig:
		return o.note(icmpError{p: p, kind: uint8(icmp.Type()), tooBig: true, mtu: icmp.MTU()}, p.segment[8:])
	}
	return false
}

func (o *Observer) countReply() {
	o.mu.Lock()
	o.neighborReplies++
	o.mu.Unlock()
}

type icmpError struct {
	p          *parsed
	kind, code uint8
	tooBig     bool // path MTU discovery at work: the stack sends less, nothing has failed
	mtu        uint32
}

// note keeps an error under the flow whose packet it quotes; false when it is about
// none of ours, or made up, so that the stack must not see it.
func (o *Observer) note(e icmpError, quoted []byte) bool {
	key, number, ok := quotedFlow(quoted)
	if !ok {
		return false
	}
	o.mu.Lock()
	r := o.flows[key]
	if r == nil || (r.started && r.Acked == 0 && number != r.initial) {
		o.mu.Unlock()
		return false // nobody's, or (before the handshake is over) not about our SYN
	}
	if e.tooBig {
		defer o.mu.Unlock()
		// gVisor takes any number for the truth, down to segments of one byte.
		if e.mtu < smallestMTU[e.p.version == 6] {
			return false
		}
		r.ICMPMTU = e.mtu
		return true
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

// smallestMTU is what every link of IPv4 (RFC 791) and of IPv6 (RFC 8200) carries.
var smallestMTU = map[bool]uint32{false: 68, true: 1280}

// quotedFlow reads the packet inside an ICMP error, which may be cut short: its
// header and eight bytes are all that RFC 792 promises, so ports and TCP's number.
func quotedFlow(b []byte) (key FlowKey, number uint32, ok bool) {
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
		return key, 0, false
	}
	if len(b) < at+8 {
		return key, 0, false
	}
	key.LocalPort = binary.BigEndian.Uint16(b[at:])
	key.RemotePort = binary.BigEndian.Uint16(b[at+2:])
	return key, binary.BigEndian.Uint32(b[at+4:]), true
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
