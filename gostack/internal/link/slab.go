package link

import (
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"

	"netkat/gostack/internal/gvisorinternals"
)

const (
	hugePage = 2 << 20
	slabSize = 2 * hugePage
	// cutSize is more than a view needs: of chunks up to 64 KiB gVisor keeps the memory for others.
	cutSize = firstView + 4<<10
)

// slab is memory in huge pages, which views are cut from: with 4 KiB pages a good part of a copy is
// to find where they are, twice in a virtual machine. The garbage collector frees it with the
// last view. Where the system has no huge pages for those who ask (transparent_hugepage/enabled
// is never), it is memory like any other.
type slab struct {
	rest []byte
}

func (s *slab) cut() *buffer.View {
	if len(s.rest) < cutSize {
		whole := make([]byte, slabSize+hugePage)
		from := -uintptr(unsafe.Pointer(&whole[0])) & (hugePage - 1)
		s.rest = whole[from:][:slabSize]
		_ = unix.Madvise(s.rest, unix.MADV_HUGEPAGE)
	}
	v := gvisorinternals.ViewOver(s.rest[:cutSize:cutSize])
	if v == nil {
		return buffer.NewViewSize(firstView)
	}
	v.CapLength(firstView)
	s.rest = s.rest[cutSize:]
	return v
}
