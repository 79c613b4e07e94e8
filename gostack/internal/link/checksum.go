package link

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// verified reports whether the transport checksum of a frame that nobody vouches
// for is right. What cannot be judged here passes: ICMP is checked by gVisor, and
// a fragment carries only a part of what its checksum covers.
func verified(p *parsed) bool {
	if p.fragment || len(p.segment) == 0 {
		return true
	}
	if p.protocol != header.TCPProtocolNumber && p.protocol != header.UDPProtocolNumber {
		return true
	}
	if p.protocol == header.UDPProtocolNumber {
		if len(p.segment) < header.UDPMinimumSize {
			return false
		}
		// RFC 768: no checksum was made. RFC 8200 forbids that, save for tunnels.
		if p.version == 4 && header.UDP(p.segment).Checksum() == 0 {
			return true
		}
	}
	pseudo := header.PseudoHeaderChecksum(
		tcpip.TransportProtocolNumber(p.protocol),
		tcpip.AddrFromSlice(p.source),
		tcpip.AddrFromSlice(p.destination),
		uint16(len(p.segment)),
	)
	return checksum.Checksum(p.segment, pseudo) == 0xffff
}
