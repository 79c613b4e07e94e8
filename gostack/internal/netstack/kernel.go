package netstack

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// GuardCount is where the guard counts the packets of a flow that it keeps from the kernel: an
// entry of a BPF hash map. Key and Value lie where nothing moves them, since the kernel is
// given their places as numbers.
type GuardCount struct {
	Map   int
	Key   unsafe.Pointer
	Value *uint64
}

// element is union bpf_attr for BPF_MAP_LOOKUP_ELEM (uapi/linux/bpf.h).
type element struct {
	fd         uint32
	_          uint32
	key, value uint64
	flags      uint64
}

// read writes the count to its place; false where there is none, or nobody may ask.
func (g GuardCount) read() bool {
	asked := element{
		fd:    uint32(g.Map),
		key:   uint64(uintptr(g.Key)),
		value: uint64(uintptr(unsafe.Pointer(g.Value))),
	}
	_, _, errno := unix.RawSyscall(unix.SYS_BPF, unix.BPF_MAP_LOOKUP_ELEM,
		uintptr(unsafe.Pointer(&asked)), unsafe.Sizeof(asked))
	return errno == 0
}

// readable is true of a descriptor that polls so, and of one that is none.
func readable(fd int32) bool {
	polled := unix.PollFd{Fd: fd, Events: unix.POLLIN}
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&polled)), 1,
		uintptr(unsafe.Pointer(&unix.Timespec{})), 0, 0, 0)
	return errno != 0 || n > 0
}

// noEntries is true where conntrack's count of entries (a file of /proc) is 0.
func noEntries(census int) bool {
	var text [32]byte
	n, _, errno := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(census),
		uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)), 0, 0, 0)
	return errno == 0 && n > 0 && text[0] == '0'
}
