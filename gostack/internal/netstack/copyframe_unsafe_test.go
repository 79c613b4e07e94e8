package netstack

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"netkat/gostack/internal/link"
)

// copyFrame does what the kernel does between sendmmsg here and recvmmsg there.
func copyFrame(to, from *link.Mmsghdr) {
	source := unsafe.Slice(from.Hdr.Iov, int(from.Hdr.Iovlen))
	target := unsafe.Slice(to.Hdr.Iov, link.ReceiveIovecs)
	var whole []byte
	for _, v := range source {
		whole = append(whole, bytesOf(v)...)
	}
	to.Len = uint32(len(whole))
	for _, v := range target {
		whole = whole[copy(bytesOf(v), whole):]
	}
}

func bytesOf(v unix.Iovec) []byte { return unsafe.Slice(v.Base, int(v.Len)) }
