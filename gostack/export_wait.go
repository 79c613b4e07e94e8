package main

/*
#include <gostack.h>
*/
import "C"

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"netkat/gostack/internal/link"
	"netkat/gostack/internal/netstack"
)

const (
	waitOnce = 1
	mostFDs  = 4
)

// outcome is the number of a wait that ended with an error.
func outcome(err error) int64 {
	var number unix.Errno
	var call *os.SyscallError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, netstack.ErrInterrupted):
		return int64(eAgain)
	case errors.Is(err, link.ErrDetached):
		return int64(eDetached)
	case errors.As(err, &call) && errors.As(err, &number):
		return localFailed - int64(number)
	case errors.As(err, &number):
		return wireFailed - int64(number)
	}
	return int64(eFault)
}

func descriptors(fds *C.int32_t, n C.uint32_t) ([]int32, bool) {
	if n > mostFDs || fds == nil && n > 0 {
		return nil, false
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(fds)), int(n)), true
}

// moment is when a wait is over; the zero time is never.
func moment(milliseconds C.int64_t) time.Time {
	if milliseconds < 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(milliseconds) * time.Millisecond)
}

//export gs_attach
func gs_attach(h C.uint64_t, fd C.int32_t, in unsafe.Pointer, nIn C.uint32_t, out unsafe.Pointer, nOut C.uint32_t, tally *C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	if in == nil || out == nil || nIn < 2 || nOut == 0 || tally == nil {
		return C.int32_t(eInvalid)
	}
	err := s.Attach(int(fd), batch(in, nIn), batch(out, nOut), (*[link.TallySize]uint64)(unsafe.Pointer(tally)))
	return C.int32_t(outcome(err))
}

//export gs_detach
func gs_detach(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	s.Detach()
	return 0
}

//export gs_flush
func gs_flush(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(outcome(s.Flush()))
}

//export gs_wait
func gs_wait(h C.uint64_t, fds *C.int32_t, n C.uint32_t, timeout C.int64_t, flags C.uint32_t) (result C.int64_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	others, ok := descriptors(fds, n)
	if !ok {
		return C.int64_t(eInvalid)
	}
	return ready(s.Wait(others, moment(timeout), flags&waitOnce != 0))
}

//export gs_reside
func gs_reside(h C.uint64_t, fds *C.int32_t, n C.uint32_t, timeout C.int64_t) (result C.int64_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	others, ok := descriptors(fds, n)
	if !ok {
		return C.int64_t(eInvalid)
	}
	return ready(s.Reside(others, moment(timeout)))
}

func ready(bits uint64, err error) C.int64_t {
	if err != nil {
		return C.int64_t(outcome(err))
	}
	return C.int64_t(bits)
}
