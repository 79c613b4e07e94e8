package link

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// firstBytes is a copy of a TCP packet with so much of its payload, in one segment.
func firstBytes(pkt *stack.PacketBuffer, payload int) *stack.PacketBuffer {
	data := pkt.Data().AsRange().Capped(payload).ToSlice()
	link, network, transport := pkt.LinkHeader().Slice(), pkt.NetworkHeader().Slice(), pkt.TransportHeader().Slice()
	part := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: len(link) + len(network) + len(transport),
		Payload:            buffer.MakeWithData(data),
	})
	tcp := header.TCP(part.TransportHeader().Push(len(transport)))
	copy(tcp, transport)
	ip := part.NetworkHeader().Push(len(network))
	copy(ip, network)
	if len(link) != 0 {
		copy(part.LinkHeader().Push(len(link)), link)
	}
	part.NetworkProtocolNumber, part.TransportProtocolNumber = pkt.NetworkProtocolNumber, pkt.TransportProtocolNumber
	part.GSOOptions = pkt.GSOOptions
	part.GSOOptions.MSS = uint16(payload)

	length := uint16(len(transport) + payload)
	source, destination := setLength(ip, length, pkt.NetworkProtocolNumber)
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber,
		tcpip.AddrFromSlice(source), tcpip.AddrFromSlice(destination), length)
	tcp.SetChecksum(0)
	if part.GSOOptions.NeedsCsum {
		tcp.SetChecksum(sum) // the kernel adds the rest
	} else {
		tcp.SetChecksum(^tcp.CalculateChecksum(checksum.Checksum(data, sum)))
	}
	return part
}
