package link

import (
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
)

// mostMoved is how many bytes are kept to come back, in few pieces: a segment that was overtaken comes
// at once, and the stack then lets go of what came before it.
const mostMoved = 4 << 20

// refuge is where payload is moved to that the stack still has when its room is over. The memory is
// used again when the stack has let go of it: that of each new room would be cleared first, and there
// are hundreds a second where a veth turns segments round.
type refuge struct {
	mu    sync.Mutex
	views []*buffer.View
}

// take gives so many bytes, with whatever is in them.
func (r *refuge) take(size int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, v := range r.views {
		if memory := layoutOf(v).chunk.data; !sharesChunk(v) && len(memory) == size {
			r.views = slices.Delete(r.views, i, i+1)
			return memory
		}
	}
	return make([]byte, size)
}

// keep is for a view of memory that was taken, and moved to.
func (r *refuge) keep(v *buffer.View) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.views = append(r.views, v)
	for size := r.size(); size > mostMoved; size = r.size() {
		r.views[0].Release()
		r.views = slices.Delete(r.views, 0, 1)
	}
}

func (r *refuge) size() (size int) {
	for _, v := range r.views {
		size += len(layoutOf(v).chunk.data)
	}
	return size
}
