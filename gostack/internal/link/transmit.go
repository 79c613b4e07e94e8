package link

import (
	"runtime"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// TransmitIovecs is how many iovecs an entry of a send batch has (GS_TX_IOVECS).
const TransmitIovecs = 20

// Transmitter fills a batch with gVisor's own views for sendmmsg to read. What it
// handed out stays pinned and referenced until the next Drain. One thread at a time;
// the lock is for a Release that comes from another.
type Transmitter struct {
	mu      sync.Mutex
	held    []*stack.PacketBuffer
	headers []byte
	pin     runtime.Pinner
}

// Drain fills up to len(batch) entries and returns how many.
func (t *Transmitter) Drain(e *Endpoint, batch []Mmsghdr) int {
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
	if len(t.headers) < VnetLen*len(batch) {
		t.headers = make([]byte, VnetLen*len(batch))
	}
	t.pin.Pin(&t.headers[0])
	bytes := 0
	for i, pkt := range t.held {
		v := t.headers[i*VnetLen : (i+1)*VnetLen]
		vnetHeader(v, pkt)
		bytes += pkt.Size()
		t.fill(&batch[i], v, pkt)
	}
	e.Counters.FramesOut.Add(uint64(len(t.held)))
	e.Counters.BytesOut.Add(uint64(bytes))
	return len(t.held)
}

func (t *Transmitter) fill(entry *Mmsghdr, vnet []byte, pkt *stack.PacketBuffer) {
	iov := iovecs(entry, TransmitIovecs)
	point(&iov[0], vnet)
	used := 1
	slices := pkt.AsSlices()
	if len(slices) > TransmitIovecs-1 {
		slices = [][]byte{pkt.ToView().AsSlice()}
	}
	for _, s := range slices {
		if len(s) == 0 {
			continue
		}
		t.pin.Pin(&s[0])
		point(&iov[used], s)
		used++
	}
	entry.Hdr.SetIovlen(used)
}

// Release lets go of what the last Drain handed out.
func (t *Transmitter) Release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release()
}

func (t *Transmitter) release() {
	t.pin.Unpin()
	for i, pkt := range t.held {
		pkt.DecRef()
		t.held[i] = nil
	}
	t.held = t.held[:0]
}
