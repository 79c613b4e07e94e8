package main

/*
#include <gostack.h>
*/
import "C"

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netkat/gostack/internal/netstack"
)

func opened(e *netstack.Endpoint, err tcpip.Error) C.int64_t {
	if err != nil {
		return C.int64_t(code(err))
	}
	return C.int64_t(table.Add(e))
}

//export gs_connect
func gs_connect(h C.uint64_t, protocol, version C.uint8_t, local *C.uint8_t, localPort C.uint16_t, remote *C.uint8_t, remotePort C.uint16_t, path *C.gs_path) (result C.int64_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	from, ok1 := addressPort(version, local, localPort)
	to, ok2 := addressPort(version, remote, remotePort)
	if !ok1 || !ok2 || (protocol != C.GS_TCP && protocol != C.GS_UDP) {
		return C.int64_t(eInvalid)
	}
	by, bad := pathOf(path)
	if bad != 0 {
		return C.int64_t(bad)
	}
	return opened(s.Connect(uint8(protocol), from, to, by))
}

//export gs_connect_result
func gs_connect_result(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(code(e.ConnectResult()))
}

//export gs_bind
func gs_bind(h C.uint64_t, version C.uint8_t, local *C.uint8_t, localPort C.uint16_t) (result C.int64_t) {
	defer recovered(&result)
	s, from, e := stackAndLocal(h, version, local, localPort)
	if e != 0 {
		return C.int64_t(e)
	}
	return opened(s.Bind(from))
}

//export gs_listen
func gs_listen(h C.uint64_t, version C.uint8_t, local *C.uint8_t, localPort C.uint16_t, backlog C.uint32_t) (result C.int64_t) {
	defer recovered(&result)
	s, from, e := stackAndLocal(h, version, local, localPort)
	if e != 0 {
		return C.int64_t(e)
	}
	return opened(s.Listen(from, int(backlog)))
}

func stackAndLocal(h C.uint64_t, version C.uint8_t, local *C.uint8_t, port C.uint16_t) (*netstack.Stack, netip.AddrPort, int32) {
	s, ok := stackOf(h)
	if !ok {
		return nil, netip.AddrPort{}, eBadHandle
	}
	from, ok := addressPort(version, local, port)
	if !ok {
		return nil, netip.AddrPort{}, eInvalid
	}
	return s, from, 0
}

//export gs_accept
func gs_accept(h C.uint64_t, remote *C.uint8_t, remotePort *C.uint16_t) (result C.int64_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	conn, from, err := e.Accept()
	if err != nil {
		return C.int64_t(code(err))
	}
	putAddress(from, remote, remotePort)
	return C.int64_t(table.Add(conn))
}

//export gs_shutdown
func gs_shutdown(h C.uint64_t, how C.uint32_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(code(e.Shutdown(uint32(how))))
}

//export gs_retire
func gs_retire(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(code(e.Retire()))
}

//export gs_close
func gs_close(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok || !table.Remove(uint64(h)) {
		return C.int32_t(eBadHandle)
	}
	e.Close()
	return 0
}

//export gs_abort
func gs_abort(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	e.Abort()
	return 0
}
