package link

import (
	"encoding/binary"

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
	network := wholeTCP(packet, size, &h.key)
	if network == 0 || len(packet) < network+header.TCPMinimumSize {
		return false
	}
	segment := header.TCP(packet[network:])
	own := int(segment.DataOffset())
	const others = header.TCPFlagSyn | header.TCPFlagRst | header.TCPFlagUrg
	if own < header.TCPMinimumSize || own > len(segment) || network+own >= size || segment.Flags()&others != 0 {
		return false
	}
	h.key.Protocol = uint8(header.TCPProtocolNumber)
	h.key.RemotePort, h.key.LocalPort = segment.SourcePort(), segment.DestinationPort()
	h.length, h.sequence = link+network+own, seqnum.Value(segment.SequenceNumber())
	return true
}

// wholeTCP is the length of the IP header of a packet that carries TCP and is neither a fragment
// nor followed by anything; 0 for all else. It notes the addresses.
func wholeTCP(packet []byte, length int, key *FlowKey) int {
	switch {
	case len(packet) >= header.IPv4MinimumSize && packet[0]>>4 == 4:
		ip := header.IPv4(packet)
		if ip.TransportProtocol() != header.TCPProtocolNumber || ip.More() || ip.FragmentOffset() != 0 ||
			int(ip.TotalLength()) != length || ip.HeaderLength() < header.IPv4MinimumSize {
			return 0
		}
		key.Version = 4
		copy(key.Remote[:], packet[12:16])
		copy(key.Local[:], packet[16:20])
		return int(ip.HeaderLength())
	case len(packet) >= header.IPv6MinimumSize && packet[0]>>4 == 6:
		if packet[6] != uint8(header.TCPProtocolNumber) ||
			header.IPv6MinimumSize+int(binary.BigEndian.Uint16(packet[4:])) != length {
			return 0
		}
		key.Version = 6
		copy(key.Remote[:], packet[8:24])
		copy(key.Local[:], packet[24:40])
		return header.IPv6MinimumSize
	}
	return 0
}
