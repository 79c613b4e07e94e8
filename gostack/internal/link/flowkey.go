package link

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// FlowKey names a flow as this stack sees it. IPv4 addresses are in the first four bytes.
type FlowKey struct {
	Protocol              uint8
	Version               uint8
	Local, Remote         [16]byte
	LocalPort, RemotePort uint16
}

// outgoingKey is the flow of a packet of ours.
func outgoingKey(pkt *stack.PacketBuffer, protocol tcpip.TransportProtocolNumber, transport []byte) FlowKey {
	key := FlowKey{
		Protocol:   uint8(protocol),
		LocalPort:  binary.BigEndian.Uint16(transport),
		RemotePort: binary.BigEndian.Uint16(transport[2:]),
	}
	network := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		key.Version = 4
		copy(key.Local[:], network[12:16])
		copy(key.Remote[:], network[16:20])
	} else {
		key.Version = 6
		copy(key.Local[:], network[8:24])
		copy(key.Remote[:], network[24:40])
	}
	return key
}

// packetKey is the flow of an outgoing packet; false for what has no ports.
func packetKey(pkt *stack.PacketBuffer) (FlowKey, bool) {
	transport := pkt.TransportHeader().Slice()
	protocol := pkt.TransportProtocolNumber
	switch protocol {
	case header.TCPProtocolNumber, header.UDPProtocolNumber:
	default:
		// Fragments are made below the transport layer; the first carries its header as data.
		data, ok := pkt.Data().PullUp(header.UDPMinimumSize)
		if !ok || !isFirstFragment(pkt) {
			return FlowKey{}, false
		}
		protocol, transport = header.UDPProtocolNumber, data
	}
	if len(transport) < 4 {
		return FlowKey{}, false
	}
	return outgoingKey(pkt, protocol, transport), true
}

func (k *FlowKey) local() netip.Addr  { return k.address(&k.Local) }
func (k *FlowKey) remote() netip.Addr { return k.address(&k.Remote) }

func (k *FlowKey) address(raw *[16]byte) netip.Addr {
	if k.Version == 4 {
		return netip.AddrFrom4([4]byte(raw[:4]))
	}
	return netip.AddrFrom16(*raw)
}
