package link

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A router that drops what is too large for its next link and does not say so is a
// path MTU black hole (RFC 2923, 2.1). gVisor believes in ICMP alone and would send
// the same segment for ever. So it is told what the router should have said, once
// the oldest segment has gone out stallLimit times without an answer; the kernel
// begins to probe after as many (net/ipv4/tcp_timer.c, tcp_mtu_probing; tcp_retries1 is 3).

const (
	stallLimit = 4
	// ipv6MTU is what any IPv6 link carries, and nearly any tunnel of IPv4 too.
	ipv6MTU = 1280
	// ipv4MTU is what any IPv4 host takes (RFC 791).
	ipv4MTU = 576
)

// stall counts how often the oldest unacknowledged segment went out.
type stall struct {
	number uint32
	times  int
}

// stalled counts a segment on its way out, and returns the path MTU to go on with
// when it and those before it vanished; 0 while there is no reason to. size is that
// of its IP packets. The observer's lock is held.
func (r *record) stalled(number uint32, version uint8, size int) uint32 {
	if !r.started || number != r.acked {
		return 0
	}
	if r.stall.number != number {
		r.stall = stall{number: number}
	}
	r.stall.times++
	if r.stall.times < stallLimit {
		return 0
	}
	mtu := 0
	switch {
	case size > ipv6MTU:
		mtu = ipv6MTU
	case size > ipv4MTU && version == 4:
		mtu = ipv4MTU
	default:
		return 0
	}
	r.stall.times = 0
	r.ICMPMTU = uint32(mtu)
	return uint32(mtu)
}

// packetSize is the size of the IP packets that a segment becomes on the wire.
func packetSize(pkt *stack.PacketBuffer) int {
	payload := pkt.Data().Size()
	if pkt.GSOOptions.Type != stack.GSONone {
		payload = min(payload, int(pkt.GSOOptions.MSS))
	}
	return len(pkt.NetworkHeader().Slice()) + len(pkt.TransportHeader().Slice()) + payload
}

// tooBig is the ICMP message of a router that a packet of ours was too large for:
// an IP packet, made out as from the packet's destination.
func tooBig(pkt *stack.PacketBuffer, mtu uint32) []byte {
	quoted := append(append([]byte(nil), pkt.NetworkHeader().Slice()...), pkt.TransportHeader().Slice()...)
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		return tooBigIPv4(quoted, mtu)
	}
	return tooBigIPv6(quoted, mtu)
}

func tooBigIPv4(quoted []byte, mtu uint32) []byte {
	b := make([]byte, header.IPv4MinimumSize+header.ICMPv4MinimumSize, header.IPv4MinimumSize+header.ICMPv4MinimumSize+len(quoted))
	b = append(b, quoted...)
	old := header.IPv4(quoted)
	ip := header.IPv4(b)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(b)),
		TTL:         64,
		Protocol:    uint8(header.ICMPv4ProtocolNumber),
		SrcAddr:     old.DestinationAddress(),
		DstAddr:     old.SourceAddress(),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	icmp := header.ICMPv4(b[header.IPv4MinimumSize:])
	icmp.SetType(header.ICMPv4DstUnreachable)
	icmp.SetCode(header.ICMPv4FragmentationNeeded)
	icmp.SetMTU(uint16(mtu))
	icmp.SetChecksum(^checksum.Checksum(icmp, 0))
	return b
}

func tooBigIPv6(quoted []byte, mtu uint32) []byte {
	b := make([]byte, header.IPv6MinimumSize+header.ICMPv6PacketTooBigMinimumSize, header.IPv6MinimumSize+header.ICMPv6PacketTooBigMinimumSize+len(quoted))
	b = append(b, quoted...)
	old := header.IPv6(quoted)
	source, destination := old.DestinationAddress(), old.SourceAddress()
	header.IPv6(b).Encode(&header.IPv6Fields{
		PayloadLength:     uint16(len(b) - header.IPv6MinimumSize),
		TransportProtocol: header.ICMPv6ProtocolNumber,
		HopLimit:          64,
		SrcAddr:           source,
		DstAddr:           destination,
	})
	icmp := header.ICMPv6(b[header.IPv6MinimumSize:])
	icmp.SetType(header.ICMPv6PacketTooBig)
	icmp.SetMTU(mtu)
	icmp.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp, Src: source, Dst: destination}))
	return b
}

// tell hands an IP packet to the stack as if it had come in by the wire. The caller
// may be inside the stack, under its locks: the packet goes in from elsewhere.
func (e *Endpoint) tell(packet []byte, protocol tcpip.NetworkProtocolNumber) {
	pkt := stackPacket(e.withLinkHeader(packet, protocol))
	go func() {
		e.deliver(pkt, protocol)
		pkt.DecRef()
	}()
}
