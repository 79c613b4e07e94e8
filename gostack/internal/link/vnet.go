package link

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// VnetLen is the size of struct virtio_net_hdr (Linux uapi virtio_net.h). On a
// packet socket its fields are in host order, which is little-endian on every
// machine that Go builds this for here (amd64, arm64).
const VnetLen = 10

const (
	vnetNeedsChecksum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	vnetDataValid     = 2 // VIRTIO_NET_HDR_F_DATA_VALID
	vnetTCPv4         = 1 // VIRTIO_NET_HDR_GSO_TCPV4
	vnetTCPv6         = 4 // VIRTIO_NET_HDR_GSO_TCPV6
)

// vnetHeader writes what the kernel must still do to the packet: its checksum, its segmentation.
func vnetHeader(v []byte, pkt *stack.PacketBuffer) {
	clear(v[:VnetLen])
	gso := pkt.GSOOptions
	if gso.Type == stack.GSONone {
		return
	}
	linkLen := len(pkt.LinkHeader().Slice())
	binary.LittleEndian.PutUint16(v[2:], uint16(pkt.HeaderSize()))
	if gso.NeedsCsum {
		v[0] = vnetNeedsChecksum
		binary.LittleEndian.PutUint16(v[6:], uint16(linkLen)+gso.L3HdrLen)
		binary.LittleEndian.PutUint16(v[8:], gso.CsumOffset)
	}
	if pkt.Data().Size() > int(gso.MSS) {
		v[1] = vnetTCPv4
		if pkt.NetworkProtocolNumber == header.IPv6ProtocolNumber {
			v[1] = vnetTCPv6
		}
		binary.LittleEndian.PutUint16(v[4:], gso.MSS)
	}
}
