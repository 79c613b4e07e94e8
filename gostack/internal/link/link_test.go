package link

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

func packets(n int) []*stack.PacketBuffer {
	all := make([]*stack.PacketBuffer, n)
	for i := range all {
		all[i] = stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData([]byte{byte(i)})})
	}
	return all
}

func woken(t *testing.T, fd int) bool {
	t.Helper()
	var b [8]byte
	_, err := unix.Read(fd, b[:])
	if err != nil && err != unix.EAGAIN {
		t.Fatal(err)
	}
	return err == nil
}

func TestQueueWakesNobodyForAThreadThatDrains(t *testing.T) {
	q, err := newQueue()
	if err != nil {
		t.Fatal(err)
	}
	defer q.close()
	pkts := packets(3)
	defer release(pkts)
	q.attend()
	q.attend()
	q.push(pkts[:1])
	out, _ := q.pop(nil, 10)
	release(out)
	q.push(pkts[1:2])
	q.leave()
	if woken(t, q.wake) {
		t.Fatal("another attends")
	}
	q.leave()
	if !woken(t, q.wake) {
		t.Fatal("nobody drains any more what came last")
	}
	q.attend()
	q.push(pkts[2:])
	out, _ = q.pop(nil, 10)
	release(out)
	q.pop(nil, 10)
	q.leave()
	if woken(t, q.wake) {
		t.Fatal("nothing is left")
	}
}

func TestQueueWakesOnlyWhoFoundItEmpty(t *testing.T) {
	q, err := newQueue()
	if err != nil {
		t.Fatal(err)
	}
	defer q.close()
	pkts := packets(3)
	defer release(pkts)
	q.push(pkts[:1])
	if !woken(t, q.wake) {
		t.Fatal("the first packet wakes")
	}
	q.push(pkts[1:])
	if woken(t, q.wake) {
		t.Fatal("the next need not: nobody has slept since")
	}
	out, _ := q.pop(nil, 10)
	if len(out) != 3 || out[0] != pkts[0] || out[2] != pkts[2] {
		t.Fatalf("%d packets, out of order", len(out))
	}
	release(out)
	q.push(pkts[:1])
	if woken(t, q.wake) {
		t.Fatal("it was drained, but not to its end")
	}
	out, _ = q.pop(nil, 10)
	release(out)
	if out, _ = q.pop(nil, 10); len(out) != 0 {
		t.Fatal("empty")
	}
	q.push(pkts[:1])
	if !woken(t, q.wake) {
		t.Fatal("an empty drain arms the eventfd again")
	}
}

func TestQueueIsBoundedAndTellsOfRoom(t *testing.T) {
	q, err := newQueue()
	if err != nil {
		t.Fatal(err)
	}
	defer q.close()
	one := packets(1)
	defer release(one)
	for range crowdedAt {
		if q.crowded() {
			t.Fatal("not yet")
		}
		q.push(one)
	}
	if !q.crowded() {
		t.Fatal("crowded")
	}
	told := 0
	for q.length() > 0 {
		out, roomy := q.pop(nil, 64)
		release(out)
		if roomy {
			told++
			if q.length() > roomyAt {
				t.Fatal("too early")
			}
		}
	}
	if told != 1 {
		t.Fatalf("told %d times", told)
	}
	for range queueLimit {
		q.push(one)
	}
	if q.push(one) != 0 {
		t.Fatal("there is a limit")
	}
	q.close()
	if q.push(one) != 0 || q.length() != 0 {
		t.Fatal("closed")
	}
}

func TestQueueUnderSteadyLoadDoesNotGrow(t *testing.T) {
	q, err := newQueue()
	if err != nil {
		t.Fatal(err)
	}
	defer q.close()
	one := packets(1)
	defer release(one)
	q.push(one)
	for range 4 * queueLimit {
		q.push(one)
		out, _ := q.pop(nil, 1)
		release(out)
	}
	if cap(q.pkts) > queueLimit {
		t.Fatalf("room for %d packets, one waits", cap(q.pkts))
	}
}

func tcpPacket(source, destination netip.AddrPort, flags header.TCPFlags, number, acked uint32) []byte {
	b := make([]byte, header.IPv4MinimumSize+header.TCPMinimumSize)
	src, dst := tcpip.AddrFromSlice(source.Addr().AsSlice()), tcpip.AddrFromSlice(destination.Addr().AsSlice())
	header.IPv4(b).Encode(&header.IPv4Fields{
		TotalLength: uint16(len(b)), TTL: 64, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: src, DstAddr: dst,
	})
	header.IPv4(b).SetChecksum(^header.IPv4(b).CalculateChecksum())
	segment := header.TCP(b[header.IPv4MinimumSize:])
	segment.Encode(&header.TCPFields{
		SrcPort: source.Port(), DstPort: destination.Port(), SeqNum: number, AckNum: acked,
		DataOffset: header.TCPMinimumSize, Flags: flags, WindowSize: 1000,
	})
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, dst, header.TCPMinimumSize)
	segment.SetChecksum(^checksum.Checksum(segment, sum))
	return b
}

var (
	local  = netip.MustParseAddrPort("10.0.0.1:1000")
	remote = netip.MustParseAddrPort("10.0.0.2:80")
)

func TestChecksumsAreVerified(t *testing.T) {
	packet := tcpPacket(remote, local, header.TCPFlagSyn, 1, 0)
	var p parsed
	if !parsePacket(packet, &p) || !verified(&p) {
		t.Fatal("a good segment")
	}
	for i := header.IPv4MinimumSize; i < len(packet); i++ {
		packet[i] ^= 0x10
		if !parsePacket(packet, &p) || verified(&p) {
			t.Fatalf("byte %d changed, and nobody saw", i)
		}
		packet[i] ^= 0x10
	}
}

func TestFloodOfSYNsIsNotKept(t *testing.T) {
	o := testEdge(t, false).Observer
	var watched FlowKey
	for port := range 3 * unclaimedLimit {
		from := netip.AddrPortFrom(remote.Addr(), uint16(port))
		var p parsed
		if !parsePacket(tcpPacket(from, local, header.TCPFlagSyn, 1, 0), &p) || !o.incoming(&p, nil) {
			t.Fatal("a SYN that nobody knows may be for a listener")
		}
		if port == 10 {
			watched = FlowKey{Protocol: 6, Version: 4, LocalPort: local.Port(), RemotePort: from.Port()}
			copy(watched.Local[:], local.Addr().AsSlice())
			copy(watched.Remote[:], from.Addr().AsSlice())
			o.Watch(watched, nil, nil)
		}
	}
	if len(o.flows) > unclaimedLimit+1 {
		t.Fatalf("%d flows kept", len(o.flows))
	}
	if o.See(watched).FramesReceived != 1 {
		t.Fatal("the one that was accepted must stay")
	}
}

func TestGSOHeader(t *testing.T) {
	for _, c := range []struct {
		protocol tcpip.NetworkProtocolNumber
		gso      byte
		l3       uint16
	}{
		{header.IPv4ProtocolNumber, vnetTCPv4, 20},
		{header.IPv6ProtocolNumber, vnetTCPv6, 40},
	} {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
			ReserveHeaderBytes: 100, Payload: buffer.MakeWithData(make([]byte, 3000)),
		})
		pkt.NetworkProtocolNumber = c.protocol
		pkt.TransportHeader().Push(20)
		pkt.NetworkHeader().Push(int(c.l3))
		pkt.LinkHeader().Push(14)
		pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, CsumOffset: 16, MSS: 1448, L3HdrLen: c.l3}
		v := make([]byte, VnetLen)
		vnetHeader(v, pkt)
		number := func(at int) uint16 { return binary.LittleEndian.Uint16(v[at:]) }
		if v[0] != vnetNeedsChecksum || v[1] != c.gso || number(2) != 34+c.l3 || number(4) != 1448 ||
			number(6) != 14+c.l3 || number(8) != 16 {
			t.Errorf("%x", v)
		}
		pkt.DecRef()
	}
}

func FuzzParse(f *testing.F) {
	f.Add(tcpPacket(remote, local, header.TCPFlagSyn, 1, 0))
	six := make([]byte, 64)
	six[0], six[5], six[6] = 0x60, 24, byte(header.IPv6FragmentExtHdrIdentifier)
	f.Add(six)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p parsed
		if parsePacket(b, &p) {
			verified(&p)
			testEdge(t, true).Observer.incoming(&p, make([]byte, 6))
		}
		parseHead(b, &p)
		quotedFlow(b)
	})
}
