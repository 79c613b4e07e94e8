package link

import (
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// mostPlaced bounds how long the peer waits for an acknowledgement of what is taken at once.
const mostPlaced = 16

// placer takes frames one by one, so that the payload of a segment goes straight to who waits for
// it. It looks at a frame's headers before it receives the frame (MSG_PEEK), which costs a
// twentieth of what it spares: one copy of a large segment.
type placer struct {
	room   atomic.Pointer[Room]
	vnet   [VnetLen]byte
	head   [headRoom]byte
	iov    [3]unix.Iovec
	msg    unix.Msghdr
	placed []placed
	moved  refuge
}

// placed is a frame: its headers, and where its payload lies in the room.
type placed struct {
	head
	headers  [headRoom]byte
	from, to int
	flags    uint8
}

// take receives the frames that there is a place for, in the order in which they came, up to the
// first that there is none for. The room is locked by the caller.
func (p *placer) take(e *Endpoint, fd int, room *Room) {
	p.placed = p.placed[:0]
	for len(p.placed) < mostPlaced {
		length, ok := p.peek(fd)
		one := placed{flags: p.vnet[0]}
		if !ok || !e.readHead(p.head[:min(length, headRoom)], length, one.flags, &one.head) || one.key != room.key {
			return
		}
		size := length - one.length
		from, ok := room.place(one.sequence, size)
		if !ok {
			return
		}
		one.from, one.to = from, from+size
		// Nobody else takes frames meanwhile: it is the one that was looked at.
		if got, ok := p.receive(fd, one.headers[:one.length], room.memory[one.from:one.to]); !ok || got != length {
			return
		}
		room.end = max(room.end, one.to)
		p.add(one)
	}
}

// add keeps segments in the order of their sequence numbers: a veth, and a network, may turn two of
// them round, and for each the peer would send some again.
func (p *placer) add(one placed) {
	at := len(p.placed)
	for at > 0 && one.sequence.LessThan(p.placed[at-1].sequence) {
		at--
	}
	p.placed = slices.Insert(p.placed, at, one)
}

// peek reads the head of the next frame, which stays where it is: the frame's length.
func (p *placer) peek(fd int) (length int, ok bool) {
	point(&p.iov[0], p.vnet[:])
	point(&p.iov[1], p.head[:])
	return p.call(fd, 2, unix.MSG_PEEK|unix.MSG_TRUNC)
}

// receive takes the next frame off the queue: its headers, and its payload into memory.
func (p *placer) receive(fd int, headers, payload []byte) (length int, ok bool) {
	point(&p.iov[1], headers)
	point(&p.iov[2], payload)
	return p.call(fd, 3, unix.MSG_TRUNC)
}

func (p *placer) call(fd, iovecs, flags int) (length int, ok bool) {
	p.msg = unix.Msghdr{Iov: &p.iov[0]}
	p.msg.SetIovlen(iovecs)
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&p.msg)), uintptr(flags|unix.MSG_DONTWAIT))
		if errno != unix.EINTR {
			return int(n) - VnetLen, errno == 0
		}
	}
}

// deliver hands the stack what was taken.
func (p *placer) deliver(e *Endpoint, room *Room) {
	for i := range p.placed {
		one := &p.placed[i]
		headers := one.headers[:one.length]
		length := one.length + one.to - one.from
		e.Counters.FramesIn.Add(1)
		e.Counters.BytesIn.Add(uint64(length))
		var read parsed
		protocol, ok := e.judge(headers, length, one.flags, &read)
		if !ok {
			continue
		}
		// Appended, a part of the payload would be copied to where the headers leave room.
		payload := buffer.MakeWithView(partOf(room.view, one.from, one.to))
		_ = payload.Prepend(buffer.NewViewWithData(headers))
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
		e.deliver(pkt, protocol)
		pkt.DecRef()
	}
}
