package link

import (
	"runtime"

	"gvisor.dev/gvisor/pkg/buffer"

	"netkat/gostack/internal/gvisorinternals"
)

const (
	// mostLent is how many leases are kept to come back: what eight connections that
	// are read at full rate have under way, 32 MiB, which the stack holds anyway. What
	// it holds for longer, because nobody reads it, goes without.
	mostLent = 512
	// fewLent is how many may stay when they have come back and no more frames do: 4 MiB.
	fewLent = 64
)

// lease is pinned memory that the kernel receives into. The stack reads its own views of it;
// as soon as it has released them the memory can be received into again, as it is. A
// new one would be cleared, 64 KiB for each frame.
type lease struct {
	view *buffer.View
	pin  runtime.Pinner
}

func newLease(size int) *lease {
	l := &lease{view: buffer.NewViewSize(size)}
	l.pin.Pin(&l.view.AsSlice()[0])
	return l
}

// part is the stack's own view of what lies there.
func (l *lease) part(from, to int) *buffer.View {
	part := l.view.Clone()
	part.CapLength(to)
	part.TrimFront(from)
	return part
}

func (l *lease) free() {
	l.pin.Unpin()
	l.view.Release()
}

// leases are those that the stack has views of, the first lent first.
type leases struct {
	queue []*lease
}

// exchange takes one that was lent, and returns one to receive into.
func (q *leases) exchange(lent *lease) *lease {
	q.queue = append(q.queue, lent)
	first := q.queue[0]
	if !gvisorinternals.SharesChunk(first.view) {
		q.queue = q.queue[1:]
		return first
	}
	if len(q.queue) > mostLent {
		q.queue = q.queue[1:]
		first.free()
	}
	return newLease(firstView)
}

// settle lets go of those that have come back, but for a few. One that a reader who pauses
// holds goes to the end, out of the way of the others.
func (q *leases) settle() {
	for len(q.queue) > fewLent && !gvisorinternals.SharesChunk(q.queue[0].view) {
		q.queue[0].free()
		q.queue = q.queue[1:]
	}
	if len(q.queue) > fewLent {
		q.queue = append(q.queue[1:], q.queue[0])
	}
}

func (q *leases) free() {
	for _, l := range q.queue {
		l.free()
	}
	q.queue = nil
}
