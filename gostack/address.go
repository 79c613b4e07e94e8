package main

/*
#include <gostack.h>
*/
import "C"

import (
	"net/netip"
	"unsafe"
)

// address reads an address of the ABI: 16 bytes of which IPv4 uses four.
func address(version C.uint8_t, p *C.uint8_t) (netip.Addr, bool) {
	if p == nil {
		return netip.Addr{}, false
	}
	b := (*[16]byte)(unsafe.Pointer(p))
	switch version {
	case 4:
		return netip.AddrFrom4([4]byte(b[:4])), true
	case 6:
		return netip.AddrFrom16(*b), true
	}
	return netip.Addr{}, false
}

func addressPort(version C.uint8_t, p *C.uint8_t, port C.uint16_t) (netip.AddrPort, bool) {
	a, ok := address(version, p)
	return netip.AddrPortFrom(a, uint16(port)), ok
}

// putAddress writes an address and port where the caller wants them.
func putAddress(from netip.AddrPort, address *C.uint8_t, port *C.uint16_t) {
	if address != nil {
		b := (*[16]byte)(unsafe.Pointer(address))
		*b = [16]byte{}
		copy(b[:], from.Addr().AsSlice())
	}
	if port != nil {
		*port = C.uint16_t(from.Port())
	}
}
