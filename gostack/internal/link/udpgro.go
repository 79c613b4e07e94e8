package link

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A sender on this machine that uses UDP_SEGMENT, and a device that merges datagrams
// (NETIF_F_GRO_UDP_FWD), hand a packet socket several datagrams as one frame. A kernel socket
// gets the datagrams (net/ipv4/udp.c, udp_queue_rcv_skb), and so does the stack.

// segmentSize is the payload of each datagram that a received frame is made of; 0 where it is one.
func segmentSize(vnet []byte, p *parsed) int {
	const ecn = 0x80 // VIRTIO_NET_HDR_GSO_ECN
	if vnet[1]&^ecn != vnetUDPL4 || p.protocol != header.UDPProtocolNumber || p.fragment {
		return 0
	}
	size := int(binary.LittleEndian.Uint16(vnet[4:]))
	if size == 0 || len(p.segment) <= header.UDPMinimumSize+size {
		return 0
	}
	return size
}

// deliverDatagrams hands the stack the datagrams of a frame, each with a copy of the headers.
func (r *Receiver) deliverDatagrams(frame []byte, p *parsed, size int, protocol tcpip.NetworkProtocolNumber) {
	network := 0
	if r.endpoint.ethernet {
		network = header.EthernetMinimumSize
	}
	udp := network + p.transport
	headers := udp + header.UDPMinimumSize
	for at := headers; at < len(frame); at += size {
		payload := frame[at:min(at+size, len(frame))]
		one := make([]byte, headers+len(payload))
		copy(one, frame[:headers])
		copy(one[headers:], payload)
		length := uint16(header.UDPMinimumSize + len(payload))
		header.UDP(one[udp:]).SetLength(length) // the kernel has verified the checksum
		setLength(one[network:udp], length, protocol)
		r.deliver(buffer.MakeWithData(one), protocol)
	}
	r.lent.settle()
}

// wholeFrame is the frame in a slot, which may lie in two views.
func (s *slot) wholeFrame(length int) []byte {
	first := s.first.view.AsSlice()
	if length <= len(first) {
		return first[:length]
	}
	return append(append([]byte(nil), first...), s.second.view.AsSlice()[:length-len(first)]...)
}
