// Package main is gostack: gVisor's network stack behind a C ABI, for netkat.
//
// The exports here hold no logic: each finds the object behind a handle, calls one
// method, and turns the outcome into a number of gostack.h.
package main

/*
// In <>, and found by -I: cgo's C is compiled in $TMPDIR, where "" looks first, and /tmp is anybody's.
#cgo CFLAGS: -I${SRCDIR}
#include <gostack.h>
*/
import "C"

import (
	"unsafe"

	"netkat/gostack/internal/handle"
	"netkat/gostack/internal/netstack"
)

var table handle.Table

//export gs_abi
func gs_abi() C.int32_t { return C.GS_ABI }

//export gs_live_handles
func gs_live_handles() C.uint64_t { return C.uint64_t(table.Live()) }

//export gs_last_panic
func gs_last_panic(text unsafe.Pointer, n C.uint64_t) C.int64_t {
	return C.int64_t(panicText(memory(text, n)))
}

func stackOf(h C.uint64_t) (*netstack.Stack, bool) {
	return handle.Get[*netstack.Stack](&table, uint64(h))
}

func endpointOf(h C.uint64_t) (*netstack.Endpoint, bool) {
	return handle.Get[*netstack.Endpoint](&table, uint64(h))
}

func main() {}
