package link

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

var udpEnds = map[int][2]tcpip.Address{
	4: {addr("192.0.2.1"), addr("192.0.2.2")},
	6: {addr("2001:db8::1"), addr("2001:db8::2")},
}

func addr(text string) tcpip.Address { return tcpip.AddrFromSlice(netip.MustParseAddr(text).AsSlice()) }

// udpPacket is a packet as gVisor queues it, with an Ethernet header.
func udpPacket(version int, payload []byte, change func(network []byte)) *stack.PacketBuffer {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: 14 + 40 + 8,
		Payload:            buffer.MakeWithData(payload),
	})
	length := uint16(header.UDPMinimumSize + len(payload))
	udp := header.UDP(pkt.TransportHeader().Push(header.UDPMinimumSize))
	udp.Encode(&header.UDPFields{SrcPort: 40000, DstPort: 5000, Length: length})
	pkt.TransportProtocolNumber = header.UDPProtocolNumber
	ends := udpEnds[version]
	if version == 4 {
		ip := header.IPv4(pkt.NetworkHeader().Push(header.IPv4MinimumSize))
		ip.Encode(&header.IPv4Fields{
			TotalLength: header.IPv4MinimumSize + length, TTL: 64, Protocol: uint8(header.UDPProtocolNumber),
			SrcAddr: ends[0], DstAddr: ends[1],
		})
		pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
	} else {
		ip := header.IPv6(pkt.NetworkHeader().Push(header.IPv6MinimumSize))
		ip.Encode(&header.IPv6Fields{
			PayloadLength: length, TransportProtocol: header.UDPProtocolNumber, HopLimit: 64,
			SrcAddr: ends[0], DstAddr: ends[1],
		})
		pkt.NetworkProtocolNumber = header.IPv6ProtocolNumber
	}
	if change != nil {
		change(pkt.NetworkHeader().Slice())
	}
	pkt.LinkHeader().Push(header.EthernetMinimumSize)
	return pkt
}

func udpPackets(version, n, size int) []*stack.PacketBuffer {
	all := make([]*stack.PacketBuffer, n)
	for i := range all {
		all[i] = udpPacket(version, bytes.Repeat([]byte{byte(i)}, size), nil)
	}
	return all
}

func TestRunOfTakesDatagramsOfOneFlowAndSize(t *testing.T) {
	for _, version := range []int{4, 6} {
		pkts := udpPackets(version, 5, 1400)
		if run := runOf(pkts); run != (udpRun{5, 7000, 1400}) {
			t.Errorf("IPv%d: %+v", version, run)
		}
		release(pkts)
	}
}

func TestRunOfEndsAfterAShorterDatagram(t *testing.T) {
	pkts := append(udpPackets(4, 2, 1400), udpPackets(4, 2, 100)...)
	defer release(pkts)
	if run := runOf(pkts); run != (udpRun{3, 2900, 1400}) {
		t.Errorf("%+v", run)
	}
	if run := runOf(pkts[2:]); run != (udpRun{2, 200, 100}) {
		t.Errorf("%+v", run)
	}
}

func TestRunOfKeepsLongerAndEmptyDatagramsApart(t *testing.T) {
	for _, size := range []int{0, 1401} {
		pkts := append(udpPackets(4, 1, 1400), udpPackets(4, 1, size)...)
		if run := runOf(pkts); run.n != 1 {
			t.Errorf("%d bytes: %+v", size, run)
		}
		release(pkts)
	}
}

func TestRunOfStaysBelowTheLimitsOfThePacket(t *testing.T) {
	small, large := udpPackets(4, 70, 10), udpPackets(4, 60, 1400)
	defer release(small)
	defer release(large)
	if run := runOf(small); run.n != maxSegments {
		t.Errorf("%d segments", run.n)
	}
	if run := runOf(large); run.payload+28 > gsoMaxSize || run.payload+1400+28 <= gsoMaxSize {
		t.Errorf("%d bytes", run.payload)
	}
}

func TestRunOfKeepsWhatDiffersApart(t *testing.T) {
	changes := map[string]func([]byte){
		"TOS":         func(ip []byte) { ip[1] = 4 },
		"TTL":         func(ip []byte) { ip[8] = 1 },
		"destination": func(ip []byte) { ip[19] = 99 },
		"fragment":    func(ip []byte) { header.IPv4(ip).SetFlagsFragmentOffset(header.IPv4FlagMoreFragments, 0) },
		"later":       func(ip []byte) { header.IPv4(ip).SetFlagsFragmentOffset(0, 8) },
	}
	for name, change := range changes {
		pkts := []*stack.PacketBuffer{udpPacket(4, make([]byte, 100), nil), udpPacket(4, make([]byte, 100), change)}
		if run := runOf(pkts); run.n != 1 {
			t.Errorf("%s: %+v", name, run)
		}
		release(pkts)
	}
}

func TestFillSegmentedWritesHeadersThatTheKernelCuts(t *testing.T) {
	for _, version := range []int{4, 6} {
		pkts := append(udpPackets(version, 2, 1400), udpPacket(version, []byte("last"), nil))
		var entry Mmsghdr
		iov := make([]unix.Iovec, TransmitIovecs)
		entry.Hdr.Iov = &iov[0]
		var pin runtime.Pinner
		run := runOf(pkts)
		if !fillSegmented(&entry, &pin, make([]byte, scratchLen), pkts, run) {
			t.Fatal("does not fit")
		}
		var frame []byte
		for _, part := range iov[:entry.Hdr.Iovlen] {
			frame = append(frame, unsafe.Slice(part.Base, part.Len)...)
		}
		checkSegmented(t, version, frame)
		pin.Unpin()
		release(pkts)
	}
}

func checkSegmented(t *testing.T, version int, frame []byte) {
	t.Helper()
	vnet, ip := frame[:VnetLen], frame[VnetLen+14:]
	network := map[int]int{4: 20, 6: 40}[version]
	udp, payload := header.UDP(ip[network:]), ip[network+8:]
	if len(payload) != 2804 || string(payload[2800:]) != "last" || payload[1400] != 1 {
		t.Errorf("IPv%d: payload of %d bytes", version, len(payload))
	}
	if vnet[0] != 1 || vnet[1] != 5 || binary.LittleEndian.Uint16(vnet[4:]) != 1400 ||
		int(binary.LittleEndian.Uint16(vnet[6:])) != 14+network || binary.LittleEndian.Uint16(vnet[8:]) != 6 {
		t.Errorf("IPv%d: virtio-net header % x", version, vnet)
	}
	if udp.Length() != 2812 {
		t.Errorf("IPv%d: UDP length %d", version, udp.Length())
	}
	ends := udpEnds[version]
	if sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, ends[0], ends[1], 2812); udp.Checksum() != sum {
		t.Errorf("IPv%d: checksum %x, not %x", version, udp.Checksum(), sum)
	}
	if version == 4 && (header.IPv4(ip).TotalLength() != 2832 || checksum.Checksum(ip[:20], 0) != 0xffff) {
		t.Errorf("IPv4 header % x", ip[:20])
	}
	if version == 6 && header.IPv6(ip).PayloadLength() != 2812 {
		t.Errorf("IPv6 payload length %d", header.IPv6(ip).PayloadLength())
	}
}
