package main

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// lastPanic is the text of the last panic in an exported call, and where it was raised.
var lastPanic atomic.Pointer[string]

// recovered makes GS_EPANIC of a panic. Every exported call defers it: a panic that leaves an
// exported call ends the program that has loaded the library. It cannot catch one in a goroutine of
// gVisor's.
func recovered[T ~int32 | ~int64](result *T) {
	if reason := recover(); reason != nil {
		text := fmt.Sprintf("%v\n\n%s", reason, debug.Stack())
		lastPanic.Store(&text)
		*result = T(ePanic)
	}
}

// panicText copies as much of the last panic's text as fits, and returns how long it is.
func panicText(b []byte) int {
	text := lastPanic.Load()
	if text == nil {
		return 0
	}
	copy(b, *text)
	return len(*text)
}
