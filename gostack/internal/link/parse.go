package link

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// parsed is what the observer and the checksum need of a packet; slices point into the frame.
type parsed struct {
	version             int
	protocol            tcpip.TransportProtocolNumber
	source, destination []byte
	ttl                 uint8
	fragment            bool // any fragment, the first included
	laterFragment       bool
	transport           int    // where the segment begins in the packet
	segment             []byte // transport header and payload; of a later fragment its payload
}

// headers is the length of a TCP segment's headers in the packet; 0 of anything else, and
// of a segment that lies.
func (p *parsed) headers() int {
	if p.protocol != header.TCPProtocolNumber || p.fragment || len(p.segment) < header.TCPMinimumSize {
		return 0
	}
	own := int(header.TCP(p.segment).DataOffset())
	if own < header.TCPMinimumSize || own >= len(p.segment) {
		return 0
	}
	return p.transport + own
}

// flow is that of a segment that came in, which has ports.
func (p *parsed) flow() FlowKey {
	key := FlowKey{Protocol: uint8(p.protocol), Version: uint8(p.version)}
	copy(key.Local[:], p.destination)
	copy(key.Remote[:], p.source)
	key.RemotePort = binary.BigEndian.Uint16(p.segment)
	key.LocalPort = binary.BigEndian.Uint16(p.segment[2:])
	return key
}

// extensionLimit bounds the IPv6 extension headers that are stepped over.
const extensionLimit = 8

// parsePacket reads an IP packet; false where it is none, or cut short.
func parsePacket(b []byte, p *parsed) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] >> 4 {
	case 4:
		return parseIPv4(b, p)
	case 6:
		return parseIPv6(b, p)
	}
	return false
}

func parseIPv4(b []byte, p *parsed) bool {
	if len(b) < header.IPv4MinimumSize {
		return false
	}
	ip := header.IPv4(b)
	hlen, total := int(ip.HeaderLength()), int(ip.TotalLength())
	if hlen < header.IPv4MinimumSize || hlen > len(b) || total < hlen || total > len(b) {
		return false
	}
	p.version, p.protocol, p.ttl = 4, ip.TransportProtocol(), ip.TTL()
	p.source, p.destination = b[12:16], b[16:20]
	p.laterFragment = ip.FragmentOffset() != 0
	p.fragment = p.laterFragment || ip.More()
	p.transport, p.segment = hlen, b[hlen:total]
	return true
}

func parseIPv6(b []byte, p *parsed) bool {
	if len(b) < header.IPv6MinimumSize {
		return false
	}
	end := header.IPv6MinimumSize + int(binary.BigEndian.Uint16(b[4:]))
	if end > len(b) {
		return false
	}
	p.version, p.ttl = 6, b[7]
	p.source, p.destination = b[8:24], b[24:40]
	p.fragment, p.laterFragment = false, false
	next, at := b[6], header.IPv6MinimumSize
	for range extensionLimit {
		switch header.IPv6ExtensionHeaderIdentifier(next) {
		case header.IPv6HopByHopOptionsExtHdrIdentifier, header.IPv6RoutingExtHdrIdentifier,
			header.IPv6DestinationOptionsExtHdrIdentifier:
			if at+8 > end {
				return false
			}
			next, at = b[at], at+8+8*int(b[at+1])
		case header.IPv6FragmentExtHdrIdentifier:
			if at+8 > end {
				return false
			}
			offset := binary.BigEndian.Uint16(b[at+2:])
			p.fragment, p.laterFragment = true, offset>>3 != 0
			next, at = b[at], at+8
			if p.laterFragment {
				p.transport, p.segment = min(at, end), b[min(at, end):end]
				p.protocol = tcpip.TransportProtocolNumber(next)
				return true
			}
		default:
			if at > end {
				return false
			}
			p.protocol, p.transport, p.segment = tcpip.TransportProtocolNumber(next), at, b[at:end]
			return true
		}
	}
	return false
}

// parseHead reads the head of a packet whose end is not in b: lengths are taken for what b holds.
func parseHead(b []byte, p *parsed) bool {
	if len(b) >= header.IPv4MinimumSize && b[0]>>4 == 4 {
		hlen := int(b[0]&15) * 4
		if hlen < header.IPv4MinimumSize || hlen > len(b) {
			return false
		}
		ip := header.IPv4(b)
		p.version, p.protocol, p.ttl = 4, ip.TransportProtocol(), ip.TTL()
		p.source, p.destination, p.transport, p.segment = b[12:16], b[16:20], hlen, b[hlen:]
		return true
	}
	if len(b) >= header.IPv6MinimumSize && b[0]>>4 == 6 {
		p.version, p.protocol, p.ttl = 6, tcpip.TransportProtocolNumber(b[6]), b[7]
		p.source, p.destination = b[8:24], b[24:40]
		p.transport, p.segment = header.IPv6MinimumSize, b[header.IPv6MinimumSize:]
		return true
	}
	return false
}
