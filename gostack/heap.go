package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// arena is what Go's heap grows by, and is aligned to (runtime/malloc.go, heapArenaBytes).
	arena = 64 << 20
	// garbage is how much of it may lie about, in a heap of which less is in use.
	garbage = 16 << 20
	// mostPercent bounds that for the smallest of heaps: at 4 MiB times the percentage Go looks
	// at one for the first time.
	mostPercent = 400
	// tooLargeForStacks and for static data is what lies in the heap (cmd/compile, ir.MaxImplicitStackVarSize).
	tooLargeForStacks = 128 << 10
)

// Go collects what is garbage when as much has been allocated as was in use. That is some MiB here,
// which a program that opens thousands of connections has allocated again many times a second; for
// a millisecond each time both processors have something else to do. GOGC in the environment has
// the last word, as in every Go program.
func init() {
	useHugePages()
	if os.Getenv("GOGC") == "" {
		percent := mostPercent
		debug.SetGCPercent(percent)
		afterEachCollection(func() {
			if next := percentFor(inUse()); next != percent {
				percent = next
				debug.SetGCPercent(percent)
			}
		})
	}
}

// useHugePages is for the arena that most programs need no second one besides. Of small pages each is
// a page fault, which costs microseconds in a virtual machine.
func useHugePages() {
	large := make([]byte, tooLargeForStacks)
	begin := uintptr(unsafe.Pointer(&large[0])) &^ (arena - 1)
	_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, begin, arena, unix.MADV_HUGEPAGE)
}

// percentFor is GOGC for so many bytes in use: in steps, since each change stops the world.
func percentFor(inUse uint64) int {
	percent := mostPercent
	for percent > 100 && inUse*uint64(percent) > 100*garbage {
		percent -= 50
	}
	return percent
}

// inUse is what the last collection has found.
func inUse() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// cycle is found to be garbage by each collection.
type cycle struct{ then func() }

func afterEachCollection(then func()) {
	runtime.SetFinalizer(&cycle{then}, (*cycle).again)
}

func (c *cycle) again() {
	c.then()
	runtime.SetFinalizer(c, (*cycle).again)
}
