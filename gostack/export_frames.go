package main

/*
#include <gostack.h>
*/
import "C"

import (
	"unsafe"

	"netkat/gostack/internal/link"
)

func batch(p unsafe.Pointer, n C.uint32_t) []link.Mmsghdr {
	return unsafe.Slice((*link.Mmsghdr)(p), int(n))
}

//export gs_outgoing_fd
func gs_outgoing_fd(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(s.Link.WakeFD())
}

//export gs_arm
func gs_arm(h C.uint64_t, mmsghdrs unsafe.Pointer, n C.uint32_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	s.Rx.Arm(s.Link, batch(mmsghdrs, n))
	return 0
}

//export gs_inject
func gs_inject(h C.uint64_t, mmsghdrs unsafe.Pointer, n C.uint32_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	s.Inject(batch(mmsghdrs, n), 0, int(n))
	return 0
}

//export gs_drain
func gs_drain(h C.uint64_t, mmsghdrs unsafe.Pointer, max C.uint32_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(s.Tx.Drain(s.Link, batch(mmsghdrs, max), false))
}
