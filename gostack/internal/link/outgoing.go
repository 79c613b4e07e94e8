package link

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// sight is what is found of an outgoing packet.
type sight struct {
	extra    *stack.PacketBuffer // sent after it, to test the path
	tooLarge bool                // it must not leave
	doubt    *Hop                // the next hop, where it may not be where frames are sent to
	local    netip.Addr
}

// outgoing looks at a packet on its way to the queue.
func (o *Observer) outgoing(pkt *stack.PacketBuffer) sight {
	transport := pkt.TransportHeader().Slice()
	switch pkt.TransportProtocolNumber {
	case header.TCPProtocolNumber:
		switch {
		case len(transport) < header.TCPMinimumSize:
		case header.TCP(transport).Flags()&header.TCPFlagSyn != 0:
			return o.countSent(pkt, header.TCPProtocolNumber, transport)
		case pkt.Data().Size() > 0 || header.TCP(transport).Flags()&header.TCPFlagFin != 0:
			return o.countData(pkt, header.TCP(transport))
		}
	case header.UDPProtocolNumber:
		return o.countSent(pkt, header.UDPProtocolNumber, transport)
	default:
		// Fragments are made below the transport layer; the first carries its header as data.
		if data, ok := pkt.Data().PullUp(header.UDPMinimumSize); ok && isFirstFragment(pkt) {
			return o.countSent(pkt, header.UDPProtocolNumber, data)
		}
	}
	return sight{}
}

func isFirstFragment(pkt *stack.PacketBuffer) bool {
	h := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		return header.IPv4(h).FragmentOffset() == 0
	}
	return len(h) >= header.IPv6MinimumSize+header.IPv6FragmentHeaderSize &&
		binary.BigEndian.Uint16(h[len(h)-6:])>>3 == 0
}

func (o *Observer) countSent(pkt *stack.PacketBuffer, protocol tcpip.TransportProtocolNumber, transport []byte) (s sight) {
	if len(transport) < header.UDPMinimumSize {
		return s
	}
	key := outgoingKey(pkt, protocol, transport)
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.find(&key)
	if r == nil {
		if protocol != header.TCPProtocolNumber {
			return s
		}
		// A SYN-ACK of ours: the connection is accepted only later, and by then its
		// first sequence number has gone by.
		r = o.addUnclaimed(key)
	}
	r.SynsSent++
	r.sentTo = destinationMAC(pkt)
	if protocol == header.UDPProtocolNumber {
		if r.datagrams == nil {
			r.datagrams = &datagrams{}
		}
		r.datagrams.sent(header.UDP(transport), sinceStart())
		return s
	}
	r.synAt = o.now()
	// Another number is another connection of the same two ends.
	if r.start(header.TCP(transport).SequenceNumber()) {
		r.Acked, r.Handshake, r.FinReceived = 0, 0, false
		r.pmtu, r.stall = pathMTU{}, stall{}
	} else if r.FramesReceived == 0 {
		s.doubt, s.local = r.hop, key.local()
	}
	return s
}

// countData follows a segment with payload or FIN: it is cut to the path MTU, and a copy of its first
// bytes may have to follow it, which tests the path. The next hop's MAC may have changed.
func (o *Observer) countData(pkt *stack.PacketBuffer, segment header.TCP) (s sight) {
	key := outgoingKey(pkt, header.TCPProtocolNumber, segment)
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.find(&key)
	if r == nil {
		if r = o.closing.find(&key); r != nil && pkt.GSOOptions.Type != stack.GSONone {
			r.pmtu.follow(r.ceiling(o.edge, key.Version), o.now)
			r.cut(pkt)
		}
		return s
	}
	r.pmtu.follow(r.ceiling(o.edge, key.Version), o.now)
	number, fresh := segment.SequenceNumber(), r.next
	r.advance(segmentEnd(segment, pkt.Data().Size()))
	if pkt.GSOOptions.Type != stack.GSONone {
		r.cut(pkt)
	} else if packetSize(pkt) > int(r.pmtu.largest()) {
		r.resend()
		return sight{tooLarge: true}
	}
	r.sentTo = destinationMAC(pkt)
	if r.started && number == r.acked && r.resent(number) {
		s.doubt, s.local = r.hop, key.local()
	}
	if number == fresh {
		s.extra = r.probe(pkt, segment, o.now)
	} else {
		r.pmtu.search.abandon(number)
		s.extra = r.smallerCopy(pkt, segment, key.Version)
	}
	return s
}
