package main

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestGarbageIsBounded(t *testing.T) {
	for inUse, want := range map[uint64]int{0: 400, 4 << 20: 400, 5 << 20: 300, 8 << 20: 200, 16 << 20: 100, 1 << 40: 100} {
		if got := percentFor(inUse); got != want {
			t.Errorf("%d %% of %d bytes, not %d", got, inUse, want)
		}
	}
}

func TestWhatIsDoneAfterEachCollection(t *testing.T) {
	var times atomic.Int32
	afterEachCollection(func() { times.Add(1) })
	for n := int32(1); n < 4; n++ {
		runtime.GC()
		for end := time.Now().Add(10 * time.Second); times.Load() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it was done %d times in %d collections", times.Load(), n)
			}
		}
	}
	if n := inUse(); n == 0 || n > 1<<30 {
		t.Errorf("%d bytes in use", n)
	}
}
