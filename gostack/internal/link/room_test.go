package link

import (
	"bytes"
	"io"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// hall is a wire on a socketpair, with a room for the flow to port 7, and what was delivered.
type hall struct {
	wire      *Wire
	far       int
	room      *Room
	memory    []byte
	delivered []*stack.PacketBuffer
	vacated   int
}

// nextByte is such that the sequence numbers turn over within the room.
var nextByte uint32 = 1<<32 - 1000

func newHall(t *testing.T) *hall {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := New(1500, "", true, func() {})
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{far: fds[1], memory: make([]byte, SmallestRoom)}
	edge.Attach(dispatched(func(pkt *stack.PacketBuffer) { h.delivered = append(h.delivered, pkt.IncRef()) }))
	var receiver Receiver
	h.wire = NewWire(edge, &receiver, &Transmitter{}, func(deliver func()) { deliver() })
	h.wire.Attach(fds[0], receiveBatch(8), make([]Mmsghdr, 1), new([TallySize]uint64))
	key := FlowKey{Protocol: uint8(header.TCPProtocolNumber), Version: 4, LocalPort: 7, RemotePort: 80}
	copy(key.Local[:], []byte{10, 0, 0, 1})
	copy(key.Remote[:], []byte{10, 0, 0, 2})
	h.room = NewRoom(key, h.memory, nextByte, func(f func()) { h.vacated++; f() })
	if !h.wire.Offer(h.room) {
		t.Fatal("it is the first")
	}
	t.Cleanup(func() {
		h.wire.Detach()
		receiver.Release()
		edge.Close()
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
	})
	return h
}

func (h *hall) comes(t *testing.T, frames ...[]byte) {
	t.Helper()
	for _, frame := range frames {
		if _, err := unix.Write(h.far, frame); err != nil {
			t.Fatal(err)
		}
	}
	for range frames {
		if err := h.wire.Receive(); err != nil {
			t.Fatal(err)
		}
	}
}

// payloads are the bytes of what was delivered, by packet.
func (h *hall) payloads() (all [][]byte) {
	for _, pkt := range h.delivered {
		all = append(all, pkt.Data().AsRange().ToSlice()[header.IPv4MinimumSize+header.TCPMinimumSize:])
	}
	return all
}

// read has the stack give what was delivered, in its order, as gVisor does.
func (h *hall) read(offset int) (read int) {
	h.room.Read(offset, func(w io.Writer) (int, uint32) {
		for _, pkt := range h.delivered {
			pkt.Data().TrimFront(header.IPv4MinimumSize + header.TCPMinimumSize)
			n, _ := pkt.Data().ReadTo(w, false)
			read += n
			pkt.DecRef()
		}
		h.delivered = nil
		return read, nextByte + uint32(offset+read)
	})
	return read
}

func counted(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((from + i) * 7)
	}
	return b
}

func TestAPayloadIsReceivedToWhereItIsRead(t *testing.T) {
	h := newHall(t)
	h.comes(t, segmentFrame(7, nextByte, 0, counted(0, 3000)), segmentFrame(7, 2000, 0, counted(3000, 500)))
	if !bytes.Equal(h.memory[:3500], counted(0, 3500)) {
		t.Fatal("it is not there yet")
	}
	for i, at := range []int{0, 3000} {
		var first *byte
		pkt := h.delivered[i]
		for _, part := range pkt.AsSlices() {
			if len(part) > header.IPv4MinimumSize+header.TCPMinimumSize {
				first = &part[0]
			}
		}
		if first != &h.memory[at] {
			t.Errorf("the stack has a copy of segment %d", i)
		}
	}
	if n := h.read(0); n != 3500 || !bytes.Equal(h.memory[:3500], counted(0, 3500)) {
		t.Fatalf("%d bytes were read", n)
	}
	h.wire.Withdraw(h.room)
	if h.vacated != 0 {
		t.Error("nobody had anything of it any more")
	}
}

func TestWhatCameInAnotherOrderIsInItsPlace(t *testing.T) {
	h := newHall(t)
	h.comes(t, segmentFrame(7, 2000, 0, counted(3000, 500)), segmentFrame(7, nextByte, 0, counted(0, 3000)))
	if got := h.payloads(); !bytes.Equal(got[0], counted(0, 3000)) || !bytes.Equal(got[1], counted(3000, 500)) {
		t.Error("the stack is given them in order")
	}
	if h.read(0) != 3500 || !bytes.Equal(h.memory[:3500], counted(0, 3500)) {
		t.Error("what is read is another")
	}
	h.wire.Withdraw(h.room)
}

func TestWhatHasNoPlaceComesAsEver(t *testing.T) {
	for name, frame := range map[string][]byte{
		"another flow":     segmentFrame(8, nextByte, 0, counted(0, 100)),
		"read before":      segmentFrame(7, nextByte-1, 0, counted(0, 100)),
		"beyond the room":  segmentFrame(7, nextByte+SmallestRoom-99, 0, counted(0, 100)),
		"reset":            segmentFrame(7, nextByte, header.TCPFlagRst, counted(0, 100)),
		"urgent":           segmentFrame(7, nextByte, header.TCPFlagUrg, counted(0, 100)),
		"without a word":   segmentFrame(7, nextByte, 0, nil),
		"nobody vouches":   unvouched(segmentFrame(7, nextByte, 0, counted(0, 100))),
		"length is a lie":  append(segmentFrame(7, nextByte, 0, counted(0, 100)), 0, 0),
		"a first fragment": fragment(segmentFrame(7, nextByte, 0, counted(0, 100))),
	} {
		h := newHall(t)
		h.comes(t, frame)
		if !bytes.Equal(h.memory, make([]byte, len(h.memory))) {
			t.Errorf("%s: it was received into the room", name)
		}
		for _, pkt := range h.delivered {
			pkt.DecRef()
		}
		h.wire.Withdraw(h.room)
	}
}

func unvouched(frame []byte) []byte { frame[0] = 0; return frame }

func fragment(frame []byte) []byte {
	frame[VnetLen+6] |= 0x20 // more fragments
	return frame
}

func TestWhatTheStackKeepsIsMovedOutOfTheWay(t *testing.T) {
	h := newHall(t)
	h.comes(t, segmentFrame(7, 2000, 0, counted(3000, 500))) // the bytes before are missing
	h.wire.Withdraw(h.room)
	if h.vacated != 1 {
		t.Fatal("the stack still has it")
	}
	clear(h.memory)
	if got := h.payloads(); !bytes.Equal(got[0], counted(3000, 500)) {
		t.Error("what the stack has is what the program writes")
	}
	h.delivered[0].DecRef()
}

func TestAnotherReaderMovesThePlaces(t *testing.T) {
	h := newHall(t)
	h.comes(t, segmentFrame(7, nextByte, 0, counted(0, 3000)))
	h.room.Read(0, func(io.Writer) (int, uint32) {
		return 0, 2000 // another thread has read all of it; the packet is still somebody's
	})
	if h.vacated != 1 {
		t.Fatal("what comes next belongs where other data lie")
	}
	h.comes(t, segmentFrame(7, 2000, 0, counted(3000, 500)))
	if !bytes.Equal(h.memory[:500], counted(3000, 500)) {
		t.Error("the next byte is the first now")
	}
	if got := h.payloads(); !bytes.Equal(got[0], counted(0, 3000)) {
		t.Error("what the stack has was written over")
	}
	for _, pkt := range h.delivered {
		pkt.DecRef()
	}
	h.wire.Withdraw(h.room)
}
