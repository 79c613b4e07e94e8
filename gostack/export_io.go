package main

/*
#include <gostack.h>
*/
import "C"

import (
	"errors"
	"math"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"netkat/gostack/internal/netstack"
)

func memory(p unsafe.Pointer, n C.uint64_t) []byte {
	if p == nil || n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(p), int(n))
}

//export gs_readable_fd
func gs_readable_fd(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return descriptor(e.ReadableFD())
}

//export gs_writable_fd
func gs_writable_fd(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return descriptor(e.WritableFD())
}

//export gs_readiness_fd
func gs_readiness_fd(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return descriptor(e.ReadinessFD())
}

func descriptor(fd int, err error) C.int32_t {
	switch err {
	case nil:
		return C.int32_t(fd)
	case unix.EBADF: // closed by another thread just now
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(outcome(err))
}

//export gs_recv
func gs_recv(h C.uint64_t, buffer unsafe.Pointer, n C.uint64_t) (result C.int64_t) {
	defer recovered(&result)
	return gs_recv_from(h, buffer, n, nil, nil, nil)
}

//export gs_recv_from
func gs_recv_from(h C.uint64_t, buffer unsafe.Pointer, n C.uint64_t, full *C.uint64_t, remote *C.uint8_t, remotePort *C.uint16_t) (result C.int64_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	count, total, from, err := e.Recv(memory(buffer, n))
	if err != nil {
		return C.int64_t(code(err))
	}
	if full != nil {
		*full = C.uint64_t(total)
	}
	if from.IsValid() {
		putAddress(from, remote, remotePort)
	}
	return C.int64_t(count)
}

//export gs_send
func gs_send(h C.uint64_t, buffer unsafe.Pointer, n C.uint64_t) (result C.int64_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	return sent(e, buffer, n, netip.AddrPort{})
}

func sent(e *netstack.Endpoint, buffer unsafe.Pointer, n C.uint64_t, to netip.AddrPort) C.int64_t {
	count, err := e.Send(memory(buffer, n), to)
	if err != nil {
		return C.int64_t(code(err))
	}
	if failure := e.DatagramFailure(); failure != nil {
		return C.int64_t(outcome(failure))
	}
	return C.int64_t(count)
}

//export gs_gather
func gs_gather(h C.uint64_t, buffer unsafe.Pointer, n C.uint64_t, milliseconds C.uint32_t) (result C.int64_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	count, err := e.Gather(memory(buffer, n), time.Duration(milliseconds)*time.Millisecond)
	if err != nil {
		return C.int64_t(code(err))
	}
	return C.int64_t(count)
}

//export gs_pour
func gs_pour(h C.uint64_t, buffer unsafe.Pointer, n C.uint64_t, milliseconds C.uint32_t) (result C.int64_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	count, err := e.Pour(memory(buffer, n), time.Duration(milliseconds)*time.Millisecond)
	if err != nil {
		return C.int64_t(code(err))
	}
	return C.int64_t(count)
}

//export gs_pour_from
func gs_pour_from(h C.uint64_t, fd C.int32_t, n C.uint64_t, milliseconds C.uint32_t, lost *C.uint64_t) (result C.int64_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	p, err := e.PourFrom(int(fd), int(min(n, math.MaxInt64)), time.Duration(milliseconds)*time.Millisecond)
	if lost != nil {
		*lost = C.uint64_t(p.Lost)
	}
	switch {
	case err != nil:
		return C.int64_t(code(err))
	case p.Read != nil:
		return C.int64_t(unread(p.Read))
	case p.Taken == 0 && !p.Ended:
		return C.int64_t(eAgain)
	}
	return C.int64_t(p.Taken)
}

// unread is the number of a source that cannot be read.
func unread(err error) int64 {
	var number unix.Errno
	if errors.As(err, &number) {
		return sourceFailed - int64(number)
	}
	return int64(eFault)
}

//export gs_send_to
func gs_send_to(h C.uint64_t, buffer unsafe.Pointer, n C.uint64_t, version C.uint8_t, remote *C.uint8_t, remotePort C.uint16_t) (result C.int64_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	to, ok := addressPort(version, remote, remotePort)
	if !ok {
		return C.int64_t(eInvalid)
	}
	return sent(e, buffer, n, to)
}

//export gs_bridge
func gs_bridge(h C.uint64_t, fd C.int32_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(code(e.Bridge(int(fd))))
}

//export gs_bridged
func gs_bridged(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(e.Bridged())
}

//export gs_bridges_fd
func gs_bridges_fd(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(s.BridgesFD)
}
