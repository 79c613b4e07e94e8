package link

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// dispatched is a network layer that does so with each packet.
type dispatched func(pkt *stack.PacketBuffer)

func (d dispatched) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	d(pkt)
}

func (dispatched) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}

// segmentFrame is what a packet socket without Ethernet headers receives: a TCP segment of IPv4, for
// whose checksum the kernel vouches, from port 80 of 10.0.0.2 to the port of 10.0.0.1.
func segmentFrame(port uint16, sequence uint32, flags header.TCPFlags, payload []byte) []byte {
	const headers = header.IPv4MinimumSize + header.TCPMinimumSize
	b := make([]byte, VnetLen+headers, VnetLen+headers+len(payload))
	b[0] = vnetDataValid
	header.IPv4(b[VnetLen:]).Encode(&header.IPv4Fields{
		TotalLength: uint16(headers + len(payload)), TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr: tcpip.AddrFrom4([4]byte{10, 0, 0, 2}), DstAddr: tcpip.AddrFrom4([4]byte{10, 0, 0, 1}),
	})
	header.TCP(b[VnetLen+header.IPv4MinimumSize:]).Encode(&header.TCPFields{
		SrcPort: 80, DstPort: port, SeqNum: sequence, Flags: flags | header.TCPFlagAck, DataOffset: header.TCPMinimumSize,
	})
	return append(b, payload...)
}

// Several threads receive from one socket: what comes must reach the stack whole, once and in
// order, with only one of them injecting, and nothing may be received into what is injected.
func TestBatchesKeepTheirOrderWithManyReceivers(t *testing.T) {
	const frames, threads = 20000, 4
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	edge, err := New(1500, "", true, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	var receiver Receiver
	defer receiver.Release()
	var next, wrong atomic.Uint64
	var injecting atomic.Int32
	edge.Attach(dispatched(func(pkt *stack.PacketBuffer) {
		if uint64(header.TCP(pkt.Data().AsRange().ToSlice()[header.IPv4MinimumSize:]).SequenceNumber()) != next.Add(1)-1 {
			wrong.Add(1)
		}
	}))
	wire := NewWire(edge, &receiver, &Transmitter{}, func(deliver func()) {
		if injecting.Add(1) != 1 {
			wrong.Add(1)
		}
		runtime.Gosched() // others have time to write where they must not
		deliver()
		injecting.Add(-1)
	})
	wire.Attach(fds[0], receiveBatch(32), make([]Mmsghdr, 1), new([TallySize]uint64))
	var done sync.WaitGroup
	for range threads {
		done.Go(func() {
			poll := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}
			for next.Load() < frames {
				_, _ = unix.Poll(poll, 10)
				if err := wire.Receive(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range uint32(frames) {
		if _, err := unix.Write(fds[1], segmentFrame(7, i, 0, nil)); err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
	wire.Detach()
	if next.Load() != frames || wrong.Load() != 0 {
		t.Fatalf("%d of %d came, %d times not in turn", next.Load(), frames, wrong.Load())
	}
	if err := wire.Receive(); err != ErrDetached {
		t.Fatalf("after Detach: %v", err)
	}
}

func receiveBatch(n int) []Mmsghdr {
	batch := make([]Mmsghdr, n)
	for i := range batch {
		batch[i].Hdr.Iov = &make([]unix.Iovec, ReceiveIovecs)[0]
	}
	return batch
}
