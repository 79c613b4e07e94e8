package main

/*
#include <gostack.h>
*/
import "C"

import (
	"net/netip"
	"unsafe"

	"netkat/gostack/internal/link"
	"netkat/gostack/internal/netstack"
)

// pathOf reads a gs_path; nil for NULL. The code is not 0 for one that makes no sense.
func pathOf(p *C.gs_path) (*netstack.Path, int32) {
	if p == nil {
		return nil, 0
	}
	path := &netstack.Path{MTU: uint32(p.mtu)}
	if p.link != 0 {
		s, ok := stackOf(p.link)
		if !ok {
			return nil, eBadHandle
		}
		path.Link = s
	}
	if p.has_next_hop != 0 {
		hop, ok := address(p.version, &p.next_hop[0])
		if !ok {
			return nil, eInvalid
		}
		path.NextHop = hop
	}
	if p.has_mac != 0 {
		path.MAC = C.GoBytes(unsafe.Pointer(&p.mac[0]), 6)
	}
	return path, 0
}

//export gs_path_set
func gs_path_set(h C.uint64_t, p *C.gs_path) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	path, bad := pathOf(p)
	if bad != 0 {
		return C.int32_t(bad)
	}
	return C.int32_t(code(e.SetPath(path)))
}

//export gs_link_set
func gs_link_set(h C.uint64_t, l *C.gs_link) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	if l == nil {
		return C.int32_t(eInvalid)
	}
	var mac []byte
	if l.ethernet != 0 {
		mac = C.GoBytes(unsafe.Pointer(&l.mac[0]), 6)
	}
	return C.int32_t(code(s.SetLink(uint32(l.mtu), mac)))
}

//export gs_route_add
func gs_route_add(h C.uint64_t, version C.uint8_t, network *C.uint8_t, prefixLength C.uint8_t, gateway *C.uint8_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	prefix, ok := prefixOf(version, network, prefixLength)
	if !ok {
		return C.int32_t(eInvalid)
	}
	via, _ := address(version, gateway)
	s.AddRoute(prefix, via)
	return 0
}

//export gs_routes_set
func gs_routes_set(h C.uint64_t, routes *C.gs_route, n C.uint32_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	if routes == nil && n != 0 {
		return C.int32_t(eInvalid)
	}
	all := make([]link.Route, 0, n)
	for _, r := range unsafe.Slice(routes, int(n)) {
		prefix, ok := prefixOf(r.version, &r.network[0], r.prefix_length)
		if !ok {
			return C.int32_t(eInvalid)
		}
		route := link.Route{Prefix: prefix}
		if r.has_gateway != 0 {
			route.Gateway, _ = address(r.version, &r.gateway[0])
		}
		all = append(all, route)
	}
	s.SetRoutes(all)
	return 0
}

func prefixOf(version C.uint8_t, network *C.uint8_t, length C.uint8_t) (netip.Prefix, bool) {
	a, ok := address(version, network)
	if !ok || int(length) > a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, int(length)), true
}

//export gs_answer_where_it_came_from
func gs_answer_where_it_came_from(h C.uint64_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	s.AnswerWhereItCameFrom()
	return 0
}

//export gs_neighbor_add
func gs_neighbor_add(h C.uint64_t, version C.uint8_t, a *C.uint8_t, mac *C.uint8_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	addr, ok := address(version, a)
	if !ok || mac == nil {
		return C.int32_t(eInvalid)
	}
	return C.int32_t(code(s.AddNeighbor(addr, C.GoBytes(unsafe.Pointer(mac), 6))))
}

//export gs_neighbor_remove
func gs_neighbor_remove(h C.uint64_t, version C.uint8_t, a *C.uint8_t) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	addr, ok := address(version, a)
	if !ok {
		return C.int32_t(eInvalid)
	}
	s.RemoveNeighbor(addr)
	return 0
}
