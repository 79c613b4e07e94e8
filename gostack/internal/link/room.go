package link

import (
	"io"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
)

// SmallestRoom is the least memory that is worth a Room: a segment of the largest kind and more.
const SmallestRoom = 2 * firstView

// Room is the memory of a thread that waits to read a flow. The payload of the flow's next
// segments is received straight into it, where the sequence number says that it belongs: the
// stack gets a view of what lies there, and when the thread reads it, it is there already.
type Room struct {
	key    FlowKey
	alone  func(func())
	memory []byte

	// mu is held while payload is received and handed to the stack, and while the stack's data
	// are read: who reads never sees a view of what is not there yet.
	mu    sync.Mutex
	first seqnum.Value // of the byte that belongs at memory's beginning
	view  *buffer.View // all of memory: what the stack's own views are made of; nil when it is over
	read  int          // so much of memory has been read from the stack
	end   int          // of what was received into memory
	moved *refuge      // of the wire that it is offered to
}

// NewRoom makes a room of memory; next is the sequence number of the byte of the flow that is to be
// read next, alone calls its function while the stack does not read the flow's data.
func NewRoom(key FlowKey, memory []byte, next uint32, alone func(func())) *Room {
	return &Room{key: key, memory: memory, first: seqnum.Value(next), view: viewOver(memory), alone: alone}
}

// Offer lets payload be received into the room until Withdraw; false where another one is offered.
func (w *Wire) Offer(room *Room) bool {
	room.moved = &w.placer.moved
	return w.placer.room.CompareAndSwap(nil, room)
}

// Withdraw ends that: nobody reads or writes the memory afterwards.
func (w *Wire) Withdraw(room *Room) {
	w.placer.room.Store(nil)
	room.mu.Lock()
	defer room.mu.Unlock()
	room.vacate()
	room.view.Release()
	room.view = nil
}

// place is where a segment's payload belongs; false where there is no place for all of it.
func (r *Room) place(sequence seqnum.Value, size int) (from int, ok bool) {
	from = int(r.first.Size(sequence))
	return from, size <= len(r.memory) && from <= len(r.memory)-size
}

// Read calls read, which reads what the stack has by way of the writer; the next byte belongs at
// the offset. read says how much that was, and which sequence number is to be read next.
func (r *Room) Read(offset int, read func(w io.Writer) (n int, next uint32)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, next := read(&roomWriter{memory: r.memory, at: offset})
	if first := seqnum.Value(next - uint32(offset+n)); first != r.first {
		// Another thread reads the same flow: what comes next belongs where other data lie.
		r.read = 0
		r.vacate()
		r.first = first
	}
	r.read = offset + n
}

// vacate has what the stack still sees of the memory lie elsewhere: what came before its turn.
func (r *Room) vacate() {
	if !sharesChunk(r.view) {
		return
	}
	elsewhere := r.moved.take(len(r.memory))
	r.alone(func() {
		if r.read < r.end {
			copy(elsewhere[r.read:r.end], r.memory[r.read:r.end])
		}
		layoutOf(r.view).chunk.data = elsewhere
	})
	r.moved.keep(r.view)
	r.view = viewOver(r.memory)
	r.end = 0
}

// roomWriter is what the stack's data are read by. What lies in its place stays as it is.
type roomWriter struct {
	memory []byte
	at     int
}

// Write implements io.Writer.
func (w *roomWriter) Write(b []byte) (int, error) {
	place := w.memory[w.at:]
	n := min(len(b), len(place))
	if n > 0 && &b[0] != &place[0] {
		copy(place, b)
	}
	w.at += n
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}
