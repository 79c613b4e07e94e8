package link

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// point has an iovec of the caller's memory point at b, which is pinned.
//
// The address is written as a number. That memory is not Go's, and what stood there before
// may be the address of something that Go has freed since: to write a pointer over it while
// the garbage collector marks would have it mark that (the write barrier; cmd/cgo, "Passing
// pointers"), and it ends the process when it finds out.
func point(iov *unix.Iovec, b []byte) {
	*(*uintptr)(unsafe.Pointer(&iov.Base)) = uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	iov.SetLen(len(b))
}

// iovecs is the array that an entry of a batch points at, in the caller's memory.
func iovecs(m *Mmsghdr, n int) []unix.Iovec {
	return unsafe.Slice(m.Hdr.Iov, n)
}
