package link

import (
	"gvisor.dev/gvisor/pkg/buffer"

	"netkat/gostack/internal/gvisorinternals"
)

// fewLoans is how many stay where no more is sent for now: 1 MiB.
const fewLoans = 16

// Loans is memory that a connection sends from. The stack has views of it until the peer has
// acknowledged them; then it is used again, as it is: a new one would be cleared. There are as many as
// a send buffer holds.
type Loans struct {
	queue []*buffer.View // in the order in which they were lent
	slab  slab
}

// Take gives 64 KiB that nobody else has a view of. They stay its own: the stack gets clones.
func (l *Loans) Take() *buffer.View {
	if len(l.queue) > 0 && !gvisorinternals.SharesChunk(l.queue[0]) {
		l.queue = append(l.queue[1:], l.queue[0])
	} else {
		l.queue = append(l.queue, l.another())
	}
	return l.queue[len(l.queue)-1]
}

// another is from huge pages where there are many: it is no use to one that sends little.
func (l *Loans) another() *buffer.View {
	if len(l.queue) < fewLoans {
		return buffer.NewViewSize(firstView)
	}
	return l.slab.cut()
}

// Settle lets go of all but a few: what the stack has of them goes when it is acknowledged.
func (l *Loans) Settle() {
	for len(l.queue) > fewLoans {
		l.queue[0].Release()
		l.queue = l.queue[1:]
	}
}

// Free lets go of all.
func (l *Loans) Free() {
	for _, view := range l.queue {
		view.Release()
	}
	l.queue = nil
}
