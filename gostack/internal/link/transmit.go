package link

import (
	"runtime"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// TransmitIovecs is how many iovecs an entry of a send batch has (GS_TX_IOVECS).
const TransmitIovecs = 72

// Transmitter fills a batch with gVisor's own views for sendmmsg to read. What it
// handed out stays pinned and referenced until the next Drain. One thread at a time;
// the lock is for a Release that comes from another.
type Transmitter struct {
	mu      sync.Mutex
	held    []*stack.PacketBuffer
	pins    []runtime.Pinner // for each entry: one has room for five pointers, and forgets that it had more
	headers []byte
	pin     runtime.Pinner // of the headers
}

// scratchLen holds the headers of an entry: virtio-net, and of a packet that the kernel is to cut
// into datagrams also Ethernet, IP and UDP.
const scratchLen = VnetLen + header.EthernetMinimumSize + header.IPv6MinimumSize + header.UDPMinimumSize

// Drain fills up to len(batch) entries and returns how many. segment: datagrams of one flow may
// leave as one packet that the kernel cuts (udpgso.go).
func (t *Transmitter) Drain(e *Endpoint, batch []Mmsghdr, segment bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release()
	var roomy bool
	t.held, roomy = e.queue.pop(t.held, len(batch))
	if roomy {
		e.onRoom()
	}
	if len(t.held) == 0 {
		return 0
	}
	t.make(len(batch))
	bytes, entries := 0, 0
	for at := 0; at < len(t.held); entries++ {
		n := t.fillNext(&batch[entries], entries, t.held[at:], segment)
		for _, pkt := range t.held[at : at+n] {
			bytes += pkt.Size()
		}
		at += n
	}
	e.Counters.FramesOut.Add(uint64(len(t.held)))
	e.Counters.BytesOut.Add(uint64(bytes))
	return entries
}

// fillNext fills an entry from the first of the packets, and returns how many it took.
func (t *Transmitter) fillNext(entry *Mmsghdr, i int, pkts []*stack.PacketBuffer, segment bool) int {
	scratch := t.headers[i*scratchLen : (i+1)*scratchLen]
	if segment {
		if run := runOf(pkts); run.n > 1 && fillSegmented(entry, &t.pins[i], scratch, pkts, run) {
			return run.n
		}
	}
	vnetHeader(scratch[:VnetLen], pkts[0])
	fill(entry, &t.pins[i], scratch[:VnetLen], pkts[0])
	return 1
}

// make has room for so many entries.
func (t *Transmitter) make(entries int) {
	if len(t.pins) >= entries {
		return
	}
	t.pin.Unpin()
	t.pins = make([]runtime.Pinner, entries)
	t.headers = make([]byte, scratchLen*entries)
	t.pin.Pin(&t.headers[0])
}

func fill(entry *Mmsghdr, pin *runtime.Pinner, vnet []byte, pkt *stack.PacketBuffer) {
	iov := iovecs(entry, TransmitIovecs)
	point(&iov[0], vnet)
	used := 1
	views, unused := pkt.AsViewList()
	if views.Len() > TransmitIovecs-1 {
		whole := pkt.ToView().AsSlice()
		pin.Pin(&whole[0])
		point(&iov[1], whole)
		entry.Hdr.SetIovlen(2)
		return
	}
	for view := views.Front(); view != nil; view = view.Next() {
		s := view.AsSlice()
		if unused >= len(s) {
			unused -= len(s)
			continue
		}
		s, unused = s[unused:], 0
		pin.Pin(&s[0])
		point(&iov[used], s)
		used++
	}
	entry.Hdr.SetIovlen(used)
}

// Release lets go of what the last Drain handed out, and of all else.
func (t *Transmitter) Release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release()
	t.pin.Unpin()
	t.pins, t.headers = nil, nil
}

func (t *Transmitter) release() {
	for i, pkt := range t.held {
		t.pins[i].Unpin() // there are as many entries as packets, or fewer
		pkt.DecRef()
		t.held[i] = nil
	}
	t.held = t.held[:0]
}
