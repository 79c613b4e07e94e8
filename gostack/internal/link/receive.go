package link

import (
	"encoding/binary"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// ReceiveIovecs is how many iovecs a slot of a receive batch has (GS_RX_IOVECS).
	ReceiveIovecs = 3
	firstView     = 65536
	secondView    = 1024 // the headers of a 64 KiB packet
	// copyBelow is the size up to which a frame is copied out of its armed buffer: to
	// give 64 KiB away for a small frame costs more, in clearing the next, than the copy.
	copyBelow = 8192
)

// Mmsghdr is Linux's struct mmsghdr, of which golang.org/x/sys has but the inner part.
type Mmsghdr struct {
	Hdr unix.Msghdr
	Len uint32
}

// Receiver points a batch at pinned Go memory for recvmmsg to fill, and hands what
// came to the stack without copying large frames. One thread at a time; the lock is
// for a Release that comes from another.
type Receiver struct {
	mu       sync.Mutex
	endpoint *Endpoint
	slots    []slot
	lent     leases
	held     acknowledgement // of the batch that is being handed over; its frame is nil where there is none
	headers  []byte
	pin      runtime.Pinner
}

// slot is what an entry of the batch points at.
type slot struct {
	first, second *lease
}

// Arm points every entry of the batch at memory of its own.
func (r *Receiver) Arm(e *Endpoint, batch []Mmsghdr) {
	r.Adopt(e, batch)
	r.Extend(batch, 0, len(batch))
}

// Adopt is for a batch of which Extend arms the entries, as they are wanted.
func (r *Receiver) Adopt(e *Endpoint, batch []Mmsghdr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release()
	r.endpoint = e
	r.slots = make([]slot, len(batch))
	r.headers = make([]byte, VnetLen*len(batch))
	if len(batch) > 0 {
		r.pin.Pin(&r.headers[0])
	}
}

// Extend arms n entries of the batch, from the entry first on; once more is nothing.
func (r *Receiver) Extend(batch []Mmsghdr, first, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := first; i < min(first+n, len(r.slots)); i++ {
		if r.slots[i].first != nil {
			continue
		}
		iov := iovecs(&batch[i], ReceiveIovecs)
		point(&iov[0], r.headers[i*VnetLen:][:VnetLen])
		batch[i].Hdr.SetIovlen(ReceiveIovecs)
		r.slots[i] = slot{newLease(firstView), newLease(secondView)}
		point(&iov[1], r.slots[i].first.view.AsSlice())
		point(&iov[2], r.slots[i].second.view.AsSlice())
	}
}

// Inject hands n frames of the batch, from the entry first on, to the stack and arms their
// entries again. Others may be received into meanwhile.
func (r *Receiver) Inject(batch []Mmsghdr, first, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := min(first+n, len(r.slots), len(batch))
	for i := first; i < end; i++ {
		length := int(batch[i].Len) - VnetLen
		if length <= 0 || length > firstView+secondView {
			r.endpoint.Counters.Malformed.Add(1)
			continue
		}
		flags := r.headers[i*VnetLen]
		r.endpoint.Counters.FramesIn.Add(1)
		r.endpoint.Counters.BytesIn.Add(uint64(length))
		r.inject(i, length, flags, &batch[i])
	}
	r.letGo()
}

func (r *Receiver) inject(i, length int, flags uint8, entry *Mmsghdr) {
	e, s := r.endpoint, &r.slots[i]
	visible := s.first.view.AsSlice()
	visible = visible[:min(length, len(visible))]
	var p parsed
	protocol, ok := e.judge(visible, length, flags, &p)
	if !ok {
		return
	}
	if r.held.frame != nil && acknowledges(&p) && p.surpasses(&r.held.packet) {
		r.held.frame = nil
	}
	r.letGo()
	if acknowledges(&p) {
		r.held = acknowledgement{visible, protocol, p}
		return
	}
	if size := segmentSize(r.headers[i*VnetLen:], &p); size > 0 {
		r.deliverDatagrams(s.wholeFrame(length), &p, size, protocol)
		return
	}
	if length <= copyBelow {
		r.deliver(buffer.MakeWithData(visible), protocol)
		r.lent.settle()
	} else {
		r.deliver(r.lend(s, length, e.headers(&p), iovecs(entry, ReceiveIovecs)), protocol)
	}
}

// letGo hands over the acknowledgement that was held back, since nothing came that makes up for it.
func (r *Receiver) letGo() {
	if r.held.frame != nil {
		r.deliver(buffer.MakeWithData(r.held.frame), r.held.protocol)
		r.held.frame = nil
		r.lent.settle()
	}
}

func (r *Receiver) deliver(payload buffer.Buffer, protocol tcpip.NetworkProtocolNumber) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
	r.endpoint.deliver(pkt, protocol)
	pkt.DecRef()
}

// lend gives the stack the slot's frame of that length, and the slot other memory. The frame's
// headers, where they are known, are in a view of their own: gVisor holds on to the one with the
// IP header while it reads it again, and then takes it for shared and copies all of it
// (buffer.go, PullUp).
func (r *Receiver) lend(s *slot, length, headers int, iov []unix.Iovec) buffer.Buffer {
	var b buffer.Buffer
	if headers > 0 {
		b = buffer.MakeWithData(s.first.view.AsSlice()[:headers])
	}
	_ = b.Append(s.first.part(headers, min(length, firstView)))
	s.first = r.lent.exchange(s.first)
	point(&iov[1], s.first.view.AsSlice())
	if length > firstView {
		_ = b.Append(s.second.part(0, length-firstView))
		s.second.free()
		s.second = newLease(secondView)
		point(&iov[2], s.second.view.AsSlice())
	}
	return b
}

// Release unpins and frees what the batch points at; it must not be received into after.
func (r *Receiver) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release()
}

func (r *Receiver) release() {
	for _, s := range r.slots {
		if s.first != nil {
			s.first.free()
			s.second.free()
		}
	}
	r.slots = nil
	r.lent.free()
	r.pin.Unpin()
}

// headers is the length of a segment's headers in its frame; 0 where they are not known.
func (e *Endpoint) headers(p *parsed) int {
	n := p.headers()
	if n > 0 && e.ethernet {
		n += header.EthernetMinimumSize
	}
	return n
}

// judge decides whether the stack may see a frame, and as which protocol; p is what it read.
func (e *Endpoint) judge(frame []byte, length int, flags uint8, p *parsed) (tcpip.NetworkProtocolNumber, bool) {
	packet, mac := frame, []byte(nil)
	if e.ethernet {
		if len(frame) < header.EthernetMinimumSize {
			e.Counters.Malformed.Add(1)
			return 0, false
		}
		if frame[0]&1 == 0 && string(frame[:6]) != string(e.LinkAddress()) {
			return 0, false // another host's, seen because the interface is promiscuous
		}
		mac, packet = frame[6:12], frame[header.EthernetMinimumSize:]
		if binary.BigEndian.Uint16(frame[12:]) == uint16(header.ARPProtocolNumber) {
			return 0, e.incomingARP(packet, frame[:6])
		}
	}
	if length > len(frame) {
		// Only the largest of super-frames: its end lies in the second view, which
		// the kernel made itself and vouches for.
		flags |= vnetDataValid
		packet = packet[:len(packet):len(packet)]
		if !parseHead(packet, p) {
			e.Counters.Malformed.Add(1)
			return 0, false
		}
	} else if !parsePacket(packet, p) {
		e.Counters.Malformed.Add(1)
		return 0, false
	}
	if flags&(vnetNeedsChecksum|vnetDataValid) == 0 && !verified(p) {
		e.Counters.BadChecksum.Add(1)
		return 0, false
	}
	if e.forward(p, packet, mac) || !e.Observer.incoming(p, mac) {
		return 0, false
	}
	if a := e.arrivals.Load(); a != nil {
		a.saw(p.source, mac)
	}
	if p.version == 4 {
		return header.IPv4ProtocolNumber, true
	}
	return header.IPv6ProtocolNumber, true
}
