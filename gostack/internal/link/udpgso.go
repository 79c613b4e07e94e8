package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// UDP segmentation offload on send. Datagrams of one flow that wait in the TX queue leave as one
// packet that the kernel cuts again (VIRTIO_NET_HDR_GSO_UDP_L4, Linux 6.2): one pass through the
// device for up to 64 datagrams. gVisor has segmentation offload for TCP only.

const (
	// maxSegments is UDP_MAX_SEGMENTS before Linux 6.9 (include/linux/udp.h); 128 since.
	maxSegments = 64
	vnetUDPL4   = 5 // VIRTIO_NET_HDR_GSO_UDP_L4
	udpChecksum = 6 // offset in the UDP header
)

// udpRun is datagrams that can leave as one packet: the first n of a list.
type udpRun struct {
	n       int
	payload int // bytes of all of them
	segment int // payload of each but the last, which may be shorter
}

// runOf finds how many of the packets, from the first on, can leave as one.
func runOf(pkts []*stack.PacketBuffer) udpRun {
	first := pkts[0]
	run := udpRun{n: 1}
	if !isWholeDatagram(first) {
		return run
	}
	run.segment = first.Data().Size()
	run.payload = run.segment
	room := gsoMaxSize - len(first.NetworkHeader().Slice()) - header.UDPMinimumSize
	for _, pkt := range pkts[1:min(len(pkts), maxSegments)] {
		size := pkt.Data().Size()
		if size == 0 || size > run.segment || run.payload+size > room || !sameFlow(first, pkt) {
			break
		}
		run.n++
		run.payload += size
		if size < run.segment {
			break // only the last segment may be shorter
		}
	}
	return run
}

// isWholeDatagram is false for a fragment, and for headers that segments could not share.
func isWholeDatagram(pkt *stack.PacketBuffer) bool {
	if pkt.TransportProtocolNumber != header.UDPProtocolNumber || pkt.Data().Size() == 0 ||
		len(pkt.TransportHeader().Slice()) != header.UDPMinimumSize {
		return false
	}
	h := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		return len(h) == header.IPv4MinimumSize && !header.IPv4(h).More() && header.IPv4(h).FragmentOffset() == 0
	}
	return len(h) == header.IPv6MinimumSize
}

// sameFlow compares all that the segments of one packet have in common.
func sameFlow(a, b *stack.PacketBuffer) bool {
	if a.NetworkProtocolNumber != b.NetworkProtocolNumber || !isWholeDatagram(b) {
		return false
	}
	const ports = 4
	x, y := a.NetworkHeader().Slice(), b.NetworkHeader().Slice()
	return bytes.Equal(a.TransportHeader().Slice()[:ports], b.TransportHeader().Slice()[:ports]) &&
		bytes.Equal(a.LinkHeader().Slice(), b.LinkHeader().Slice()) &&
		sameNetworkHeader(x, y, a.NetworkProtocolNumber)
}

// sameNetworkHeader compares all but length, identification and checksum.
func sameNetworkHeader(x, y []byte, protocol tcpip.NetworkProtocolNumber) bool {
	if protocol == header.IPv4ProtocolNumber {
		const tos, flags, sum, source = 2, 6, 10, 12
		return bytes.Equal(x[:tos], y[:tos]) && bytes.Equal(x[flags:sum], y[flags:sum]) && bytes.Equal(x[source:], y[source:])
	}
	const length, next = 4, 6
	return bytes.Equal(x[:length], y[:length]) && bytes.Equal(x[next:], y[next:])
}

// segmentedHeaders writes the virtio-net header and the headers of a packet that the kernel cuts
// into the run's datagrams, and returns their length.
func segmentedHeaders(out []byte, first *stack.PacketBuffer, run udpRun) int {
	link, network, udp := first.LinkHeader().Slice(), first.NetworkHeader().Slice(), first.TransportHeader().Slice()
	clear(out[:VnetLen])
	n := VnetLen
	n += copy(out[n:], link)
	ip := out[n : n+len(network)]
	n += copy(ip, network)
	segment := header.UDP(out[n : n+len(udp)])
	n += copy(segment, udp)
	length := uint16(header.UDPMinimumSize + run.payload)
	segment.SetLength(length)
	source, destination := setLength(ip, length, first.NetworkProtocolNumber)
	// The kernel adds the payload of each segment to the pseudo-header's sum (CHECKSUM_PARTIAL).
	sum := checksum.Combine(checksum.Checksum(source, 0), checksum.Checksum(destination, 0))
	sum = checksum.Combine(sum, uint16(header.UDPProtocolNumber))
	segment.SetChecksum(checksum.Combine(sum, length))
	out[0], out[1] = vnetNeedsChecksum, vnetUDPL4
	binary.LittleEndian.PutUint16(out[2:], uint16(n-VnetLen))
	binary.LittleEndian.PutUint16(out[4:], uint16(run.segment))
	binary.LittleEndian.PutUint16(out[6:], uint16(len(link)+len(network)))
	binary.LittleEndian.PutUint16(out[8:], udpChecksum)
	return n
}

// setLength puts the length of the transport's part into a network header, and returns both addresses.
func setLength(ip []byte, length uint16, protocol tcpip.NetworkProtocolNumber) (source, destination []byte) {
	if protocol == header.IPv4ProtocolNumber {
		h := header.IPv4(ip)
		h.SetTotalLength(uint16(len(ip)) + length)
		h.SetChecksum(0)
		h.SetChecksum(^h.CalculateChecksum())
		return ip[12:16], ip[16:20]
	}
	header.IPv6(ip).SetPayloadLength(uint16(len(ip)-header.IPv6MinimumSize) + length)
	return ip[8:24], ip[24:40]
}

// fillSegmented fills an entry with one packet made of the run; false where it has more parts than
// an entry has iovecs.
func fillSegmented(entry *Mmsghdr, pin *runtime.Pinner, scratch []byte, pkts []*stack.PacketBuffer, run udpRun) bool {
	iov := iovecs(entry, TransmitIovecs)
	point(&iov[0], scratch[:segmentedHeaders(scratch, pkts[0], run)])
	used := 1
	for _, pkt := range pkts[:run.n] {
		views, skip := pkt.AsViewList()
		skip += pkt.HeaderSize()
		for view := views.Front(); view != nil; view = view.Next() {
			s := view.AsSlice()
			if skip >= len(s) {
				skip -= len(s)
				continue
			}
			if used == TransmitIovecs {
				pin.Unpin()
				return false
			}
			s, skip = s[skip:], 0
			pin.Pin(&s[0])
			point(&iov[used], s)
			used++
		}
	}
	entry.Hdr.SetIovlen(used)
	return true
}

// kernelCutsDatagrams is whether packet sockets take VIRTIO_NET_HDR_GSO_UDP_L4 (Linux 6.2,
// include/linux/virtio_net.h).
var kernelCutsDatagrams = sync.OnceValue(func() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || major == 6 && minor >= 2
})
