package link

import (
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
)

// headRoom holds the headers of any TCP segment: Ethernet, and IPv4 and TCP with all the options
// that they may have.
const headRoom = header.EthernetMinimumSize + header.IPv4MaximumHeaderSize + header.TCPHeaderMaximumSize

// head is what the headers of a TCP segment say.
type head struct {
	key      FlowKey
	length   int // of the headers, Ethernet's included
	sequence seqnum.Value
}

// readHead reads the headers of a whole TCP segment with payload that the kernel vouches for; b is
// where its frame of that length begins. False for all else.
func (e *Endpoint) readHead(b []byte, length int, flags uint8, h *head) bool {
	if flags&(vnetNeedsChecksum|vnetDataValid) == 0 {
		return false
	}
	link := 0
	if e.ethernet {
		link = header.EthernetMinimumSize
	}
	if len(b) < link {
		return false
	}
	packet, size := b[link:], length-link
	var p parsed
	if !parseHead(packet, &p) || p.protocol != header.TCPProtocolNumber || !whole(packet, size) ||
		len(p.segment) < header.TCPMinimumSize {
		return false
	}
	segment := header.TCP(p.segment)
	own := int(segment.DataOffset())
	const others = header.TCPFlagSyn | header.TCPFlagRst | header.TCPFlagUrg
	if own < header.TCPMinimumSize || own > len(segment) || p.transport+own >= size || segment.Flags()&others != 0 {
		return false
	}
	h.key, h.length, h.sequence = p.flow(), link+p.transport+own, seqnum.Value(segment.SequenceNumber())
	return true
}

// whole says whether a packet whose head was read is no fragment, and so long.
func whole(packet []byte, length int) bool {
	if packet[0]>>4 == 4 {
		ip := header.IPv4(packet)
		return !ip.More() && ip.FragmentOffset() == 0 && int(ip.TotalLength()) == length
	}
	return header.IPv6MinimumSize+int(header.IPv6(packet).PayloadLength()) == length
}
