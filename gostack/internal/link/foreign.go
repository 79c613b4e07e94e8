package link

import (
	"unsafe"

	"gvisor.dev/gvisor/pkg/buffer"
)

// viewLayout and chunkLayout are gVisor's buffer.View and its chunk: there is no other way to
// have a View over memory that is not gVisor's. A test compares them with what they stand for.
type viewLayout struct {
	next, prev  *buffer.View
	read, write int
	chunk       *chunkLayout
}

type chunkLayout struct {
	refs int64
	data []byte
}

func layoutOf(v *buffer.View) *viewLayout { return (*viewLayout)(unsafe.Pointer(v)) }

// viewOver makes a view of all of memory. There must be more of it than gVisor keeps in its pools
// (buffer.MaxChunkSize), or it would keep it when the last view is released.
func viewOver(memory []byte) *buffer.View {
	if len(memory) <= buffer.MaxChunkSize {
		panic("memory that gVisor would keep")
	}
	v := &buffer.View{}
	layout := layoutOf(v)
	layout.write = len(memory)
	layout.chunk = &chunkLayout{refs: 1, data: memory}
	return v
}

// partOf is a view of its own of what lies there.
func partOf(v *buffer.View, from, to int) *buffer.View {
	part := v.Clone()
	part.CapLength(to)
	part.TrimFront(from)
	return part
}
