package link

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

var firstNumber uint32 = 1<<32 - 1000 // so that numbers wrap around in each test

// ends of a flow in either version.
var ends = map[int][2]netip.AddrPort{
	4: {local, remote},
	6: {netip.MustParseAddrPort("[fd00::1]:1000"), netip.MustParseAddrPort("[fd00::2]:80")},
}

// watched is an observer with one flow.
func watched(version int, protocol tcpip.TransportProtocolNumber) (*Observer, FlowKey) {
	o := newObserver(&Endpoint{mtu: 1500})
	key := FlowKey{Protocol: uint8(protocol), Version: uint8(version), LocalPort: 1000, RemotePort: 80}
	copy(key.Local[:], ends[version][0].Addr().AsSlice())
	copy(key.Remote[:], ends[version][1].Addr().AsSlice())
	o.Watch(key, nil, nil)
	return o, key
}

// packetOf is a packet of the flow as gVisor hands it over.
func packetOf(version int, protocol tcpip.TransportProtocolNumber, transport []byte, payload int) *stack.PacketBuffer {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: 100, Payload: buffer.MakeWithData(make([]byte, payload)),
	})
	copy(pkt.TransportHeader().Push(len(transport)), transport)
	pkt.TransportProtocolNumber = protocol
	source := tcpip.AddrFromSlice(ends[version][0].Addr().AsSlice())
	destination := tcpip.AddrFromSlice(ends[version][1].Addr().AsSlice())
	size := len(transport) + payload
	if version == 4 {
		pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
		header.IPv4(pkt.NetworkHeader().Push(header.IPv4MinimumSize)).Encode(&header.IPv4Fields{
			TotalLength: uint16(header.IPv4MinimumSize + size), TTL: 64, Protocol: uint8(protocol),
			SrcAddr: source, DstAddr: destination,
		})
		return pkt
	}
	pkt.NetworkProtocolNumber = header.IPv6ProtocolNumber
	header.IPv6(pkt.NetworkHeader().Push(header.IPv6MinimumSize)).Encode(&header.IPv6Fields{
		PayloadLength: uint16(size), TransportProtocol: protocol, HopLimit: 64, SrcAddr: source, DstAddr: destination,
	})
	return pkt
}

func tcpHeader(number, acked uint32, flags header.TCPFlags) header.TCP {
	segment := make(header.TCP, header.TCPMinimumSize)
	segment.Encode(&header.TCPFields{
		SrcPort: 1000, DstPort: 80, SeqNum: number, AckNum: acked, Flags: flags,
		DataOffset: header.TCPMinimumSize, WindowSize: 1000,
	})
	return segment
}

// send has the observer see a segment on its way out.
func send(o *Observer, version int, number uint32, flags header.TCPFlags, payload int) {
	pkt := packetOf(version, header.TCPProtocolNumber, tcpHeader(number, 0, flags), payload)
	defer pkt.DecRef()
	o.outgoing(pkt)
}

// acknowledgeNumber has the peer acknowledge a number.
func acknowledgeNumber(o *Observer, key FlowKey, number uint32) {
	receive(o, key, tcpHeader(0, number, header.TCPFlagAck))
}

// receive has the observer see a segment from the peer.
func receive(o *Observer, key FlowKey, segment header.TCP) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flows[key].segment(segment, 64)
	o.testPath(o.flows[key], segment)
}

// quoted is the start of a packet of the flow, as an ICMP error quotes it.
func quoted(version int, protocol tcpip.TransportProtocolNumber, transport []byte) []byte {
	pkt := packetOf(version, protocol, transport, 0)
	defer pkt.DecRef()
	return append(append([]byte(nil), pkt.NetworkHeader().Slice()...), transport[:8]...)
}

// arrive is whether an ICMP error passes the observer.
func arrive(o *Observer, version int, kind, code uint8, word uint32, quoted []byte) bool {
	message := make([]byte, 8, 8+len(quoted))
	message[0], message[1] = kind, code
	binary.BigEndian.PutUint32(message[4:], word)
	router := netip.MustParseAddr("10.0.0.3").AsSlice()
	protocol := header.ICMPv4ProtocolNumber
	if version == 6 {
		router, protocol = netip.MustParseAddr("fd00::3").AsSlice(), header.ICMPv6ProtocolNumber
	}
	p := parsed{version: version, protocol: protocol, source: router, ttl: 60, segment: append(message, quoted...)}
	return o.incoming(&p, nil)
}

// errorKinds are a hard error, a soft error and "too big" (RFC 1122, 4.2.3.9) of either version.
var errorKinds = map[int]map[string][3]uint32{
	4: {"hard": {3, 3, 0}, "soft": {11, 0, 0}, "too big": {3, 4, 1400}},
	6: {"hard": {1, 4, 0}, "soft": {3, 0, 0}, "too big": {2, 0, 1400}},
}

func TestErrorsAreAcceptedAboutSegmentsInFlight(t *testing.T) {
	data := firstNumber + 1
	numbers := map[string]struct {
		number uint32
		wanted bool
	}{
		"SYN, acknowledged long ago":  {firstNumber, false},
		"one before the oldest":       {data + 999, false},
		"the oldest":                  {data + 1000, true},
		"in the middle, wrapped over": {data + 2000, true},
		"the last":                    {data + 2999, true},
		"the next to be sent":         {data + 3000, false},
		"in the future":               {data + 100_000, false},
		"random":                      {0x5a5a5a5a, false},
	}
	for version, kinds := range errorKinds {
		for name, kind := range kinds {
			for what, c := range numbers {
				o, key := watched(version, header.TCPProtocolNumber)
				reports := 0
				o.Watch(key, func() { reports++ }, nil)
				send(o, version, firstNumber, header.TCPFlagSyn, 0)
				send(o, version, data, header.TCPFlagAck, 3000)
				send(o, version, data, header.TCPFlagAck, 500) // a retransmission
				acknowledgeNumber(o, key, data+1000)
				quote := quoted(version, header.TCPProtocolNumber, tcpHeader(c.number, 0, header.TCPFlagAck))
				arrive(o, version, uint8(kind[0]), uint8(kind[1]), kind[2], quote)
				seen := o.See(key)
				if accepted := seen.ICMPErrors == 1 || seen.ICMPMTU == 1400; accepted != c.wanted {
					t.Errorf("IPv%d, %s, %s: accepted: %v", version, name, what, accepted)
				}
				if reported := reports == 1; reported != (c.wanted && name != "too big") {
					t.Errorf("IPv%d, %s, %s: reported: %v", version, name, what, reported)
				}
				if !c.wanted && (seen.ICMPType != 0 || seen.ICMPSender != [16]byte{}) {
					t.Errorf("IPv%d, %s, %s: kept for the error message", version, name, what)
				}
			}
		}
	}
}

func TestErrorsAboutAConnectAreAboutItsSYN(t *testing.T) {
	for version := range ends {
		for offset, wanted := range map[uint32]bool{0: true, 1: false, 1<<32 - 1: false} {
			o, key := watched(version, header.TCPProtocolNumber)
			send(o, version, firstNumber, header.TCPFlagSyn, 0)
			quote := quoted(version, header.TCPProtocolNumber, tcpHeader(firstNumber+offset, 0, header.TCPFlagSyn))
			kind := errorKinds[version]["hard"]
			if arrive(o, version, uint8(kind[0]), uint8(kind[1]), 0, quote) != wanted {
				t.Errorf("IPv%d, %d after the SYN: %v", version, int32(offset), !wanted)
			}
			if recorded := o.See(key).ICMPErrors == 1; recorded != wanted {
				t.Errorf("IPv%d, %d after the SYN: recorded: %v", version, int32(offset), recorded)
			}
		}
	}
}

func TestErrorsBeforeAnythingWasSentAreForged(t *testing.T) {
	for version := range ends {
		for _, protocol := range []tcpip.TransportProtocolNumber{header.TCPProtocolNumber, header.UDPProtocolNumber} {
			o, key := watched(version, protocol)
			kind := errorKinds[version]["hard"]
			arrive(o, version, uint8(kind[0]), uint8(kind[1]), 0, quoted(version, protocol, tcpHeader(0, 0, 0)))
			if o.See(key).ICMPErrors != 0 {
				t.Errorf("IPv%d, protocol %d", version, protocol)
			}
		}
	}
}

func TestFINIsInFlight(t *testing.T) {
	o, key := watched(4, header.TCPProtocolNumber)
	send(o, 4, firstNumber, header.TCPFlagSyn, 0)
	acknowledgeNumber(o, key, firstNumber+1)
	send(o, 4, firstNumber+1, header.TCPFlagFin|header.TCPFlagAck, 0)
	quote := quoted(4, header.TCPProtocolNumber, tcpHeader(firstNumber+1, 0, header.TCPFlagFin))
	if !arrive(o, 4, 3, 1, 0, quote) {
		t.Fatal("the FIN was sent")
	}
	acknowledgeNumber(o, key, firstNumber+2)
	if arrive(o, 4, 3, 1, 0, quote) || o.See(key).ICMPErrors != 1 {
		t.Fatal("the FIN was acknowledged")
	}
}

func TestErrorsAreAcceptedAboutDatagramsThatWereSent(t *testing.T) {
	for version := range ends {
		for name, kind := range errorKinds[version] {
			for what, c := range map[string]struct {
				length, checksum uint16
				wanted           bool
			}{
				"the datagram": {40, 0x1234, true}, "another length": {41, 0x1234, false}, "another checksum": {40, 0x1235, false},
			} {
				o, key := watched(version, header.UDPProtocolNumber)
				pkt := packetOf(version, header.UDPProtocolNumber, udpHeader(40, 0x1234), 32)
				o.outgoing(pkt)
				pkt.DecRef()
				quote := quoted(version, header.UDPProtocolNumber, udpHeader(c.length, c.checksum))
				arrive(o, version, uint8(kind[0]), uint8(kind[1]), kind[2], quote)
				seen := o.See(key)
				if accepted := seen.ICMPErrors == 1 || seen.ICMPMTU == 1400; accepted != c.wanted {
					t.Errorf("IPv%d, %s, %s: %v", version, name, what, accepted)
				}
			}
		}
	}
}

func TestQuotedFragmentsHaveNoPorts(t *testing.T) {
	later := quoted(4, header.UDPProtocolNumber, udpHeader(40, 7))
	header.IPv4(later).SetFlagsFragmentOffset(header.IPv4FlagMoreFragments, 8)
	if _, _, ok := quotedFlow(later); ok {
		t.Error("a later fragment of IPv4")
	}
	header.IPv4(later).SetFlagsFragmentOffset(header.IPv4FlagMoreFragments, 0)
	if _, _, ok := quotedFlow(later); !ok {
		t.Error("the first fragment of IPv4")
	}
	for offset, wanted := range map[uint16]bool{0: true, 8: false} {
		whole := quoted(6, header.UDPProtocolNumber, udpHeader(40, 7))
		fragment := make([]byte, header.IPv6FragmentHeaderSize)
		fragment[0] = whole[6]
		binary.BigEndian.PutUint16(fragment[2:], offset|1)
		whole[6] = uint8(header.IPv6FragmentExtHdrIdentifier)
		whole = append(append(whole[:header.IPv6MinimumSize:header.IPv6MinimumSize], fragment...), udpHeader(40, 7)...)
		key, _, ok := quotedFlow(whole)
		if ok != wanted || ok && key.LocalPort != 1000 {
			t.Errorf("a fragment of IPv6 at %d: %v", offset, ok)
		}
	}
}
