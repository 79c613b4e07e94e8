package main

/*
#include <gostack.h>
*/
import "C"

import (
	"unsafe"

	"netkat/gostack/internal/netstack"
)

//export gs_stack_new
func gs_stack_new(l *C.gs_link) (result C.int64_t) {
	defer recovered(&result)
	if l == nil {
		return C.int64_t(eInvalid)
	}
	var mac []byte
	if l.ethernet != 0 {
		mac = C.GoBytes(unsafe.Pointer(&l.mac[0]), 6)
	}
	s, err := netstack.New(uint32(l.mtu), mac, l.gso != 0)
	if err != nil {
		return C.int64_t(outcome(err))
	}
	return C.int64_t(table.Add(s))
}

//export gs_stack_close
func gs_stack_close(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok || !table.Remove(uint64(h)) {
		return C.int32_t(eBadHandle)
	}
	s.Close()
	return 0
}

//export gs_address_add
func gs_address_add(h C.uint64_t, version C.uint8_t, a *C.uint8_t, assigned C.uint8_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	addr, ok := address(version, a)
	if !ok {
		return C.int32_t(eInvalid)
	}
	return C.int32_t(code(s.AddAddress(addr, assigned != 0)))
}

//export gs_address_remove
func gs_address_remove(h C.uint64_t, version C.uint8_t, a *C.uint8_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	addr, ok := address(version, a)
	if !ok {
		return C.int32_t(eInvalid)
	}
	return C.int32_t(code(s.RemoveAddress(addr)))
}

//export gs_address_claim
func gs_address_claim(h C.uint64_t, version C.uint8_t, a *C.uint8_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	addr, ok := address(version, a)
	if !ok {
		return C.int32_t(eInvalid)
	}
	return C.int32_t(code(s.ClaimAddress(addr)))
}
