package link

import (
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory that is not Go's keeps addresses of what Go has freed since. A pointer written over
// one of them while the garbage collector marks ends the process: "found pointer to free object".
func TestAddressesOfFreedMemoryAreNotRead(t *testing.T) {
	const entries = 4096
	foreign, err := unix.Mmap(-1, 0, entries*int(unsafe.Sizeof(unix.Iovec{})),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(foreign)
	iov := unsafe.Slice((*unix.Iovec)(unsafe.Pointer(&foreign[0])), entries)
	var collected atomic.Int32
	go func() {
		for range 40 {
			runtime.GC()
			collected.Add(1)
		}
	}()
	for collected.Load() < 40 {
		for i := range iov {
			point(&iov[i], make([]byte, 128))
		}
	}
	if iov[0].Len != 128 || iov[0].Base == nil {
		t.Fatal("it points at nothing")
	}
}
