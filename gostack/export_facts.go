package main

/*
#include <gostack.h>
*/
import "C"

import (
	"unsafe"

	"netkat/gostack/internal/netstack"
)

//export gs_observe
func gs_observe(h C.uint64_t, protocol, version C.uint8_t, local *C.uint8_t, localPort C.uint16_t, remote *C.uint8_t, remotePort C.uint16_t, out *C.gs_observation) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	from, ok1 := addressPort(version, local, localPort)
	to, ok2 := addressPort(version, remote, remotePort)
	if !ok1 || !ok2 || out == nil {
		return C.int32_t(eInvalid)
	}
	seen := s.Link.Observer.See(netstack.Key(uint8(protocol), from, to))
	*out = C.gs_observation{
		syns_sent:         C.uint32_t(seen.SynsSent),
		frames_received:   C.uint32_t(seen.FramesReceived),
		resets:            C.uint32_t(seen.Resets),
		reset_ttl:         C.uint8_t(seen.ResetTTL),
		hairpin_ttl:       C.uint8_t(seen.HairpinTTL),
		icmp_type:         C.uint8_t(seen.ICMPType),
		icmp_code:         C.uint8_t(seen.ICMPCode),
		icmp_errors:       C.uint32_t(seen.ICMPErrors),
		icmp_mtu:          C.uint32_t(seen.ICMPMTU),
		icmp_version:      C.uint8_t(seen.ICMPVersion),
		icmp_ttl:          C.uint8_t(seen.ICMPTTL),
		hairpins:          C.uint32_t(seen.Hairpins),
		neighbor_requests: C.uint32_t(seen.NeighborRequests),
		neighbor_replies:  C.uint32_t(seen.NeighborReplies),
		far_frames:        C.uint32_t(seen.FarFrames),
		far_ttl:           C.uint8_t(seen.FarTTL),
		has_next_hop_mac:  flag(seen.NextHopMAC.Known()),
		hop_state:         C.uint8_t(seen.HopState),
	}
	*(*[6]byte)(unsafe.Pointer(&out.next_hop_mac[0])) = seen.NextHopMAC.Bytes()
	if hop := seen.NextHop; hop.IsValid() {
		out.next_hop_version = 6
		if hop.Is4() {
			out.next_hop_version = 4
		}
		copy((*[16]byte)(unsafe.Pointer(&out.next_hop[0]))[:], hop.AsSlice())
	}
	*(*[16]byte)(unsafe.Pointer(&out.icmp_sender[0])) = seen.ICMPSender
	*(*[6]byte)(unsafe.Pointer(&out.hairpin_mac[0])) = seen.HairpinMAC
	return 0
}

//export gs_stack_statistics
func gs_stack_statistics(h C.uint64_t, out *C.gs_statistics) (result C.int32_t) {
	defer recovered(&result)
	s, ok := stackOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	if out == nil {
		return C.int32_t(eInvalid)
	}
	c, stats := &s.Link.Counters, s.Stats()
	*out = C.gs_statistics{
		frames_in:        C.uint64_t(c.FramesIn.Load()),
		frames_out:       C.uint64_t(c.FramesOut.Load()),
		bytes_in:         C.uint64_t(c.BytesIn.Load()),
		bytes_out:        C.uint64_t(c.BytesOut.Load()),
		queue_full:       C.uint64_t(c.QueueFull.Load()),
		malformed:        C.uint64_t(c.Malformed.Load()),
		no_next_hop:      C.uint64_t(c.NoRoute.Load() + s.Link.Hops().Dropped.Load()),
		retransmits:      C.uint64_t(stats.TCP.Retransmits.Value()),
		fast_retransmits: C.uint64_t(stats.TCP.FastRetransmit.Value()),
		timeouts:         C.uint64_t(stats.TCP.Timeouts.Value()),
		checksum_errors:  C.uint64_t(c.BadChecksum.Load() + stats.TCP.ChecksumErrors.Value()),
		endpoints:        C.uint32_t(s.Endpoints()),
		queued:           C.uint32_t(s.Link.Queued()),
	}
	return 0
}

//export gs_endpoint_info
func gs_endpoint_info(h C.uint64_t, out *C.gs_info) (result C.int32_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	if out == nil {
		return C.int32_t(eInvalid)
	}
	info := e.Info()
	*out = C.gs_info{
		state:        C.uint32_t(info.State),
		rtt_us:       C.uint32_t(info.RTT),
		rtt_var_us:   C.uint32_t(info.RTTVar),
		rto_us:       C.uint32_t(info.RTO),
		cwnd:         C.uint32_t(info.Cwnd),
		mss:          C.uint32_t(info.MSS),
		retransmits:  C.uint32_t(info.Retransmits),
		unacked:      C.uint32_t(info.Unacked),
		unread:       C.uint32_t(info.Unread),
		fin_acked:    flag(info.FinAcked),
		fin_received: flag(info.FinReceived),
		handshake_us: C.uint32_t(info.Handshake),
		peer_ttl:     C.uint8_t(info.PeerTTL),
		leaving:      flag(info.Leaving),
	}
	return 0
}

func flag(b bool) C.uint8_t {
	if b {
		return 1
	}
	return 0
}

//export gs_option_set
func gs_option_set(h C.uint64_t, option C.uint32_t, value C.int64_t) (result C.int32_t) {
	defer recovered(&result)
	if s, ok := stackOf(h); ok {
		return C.int32_t(code(s.SetDefault(uint32(option), int64(value))))
	}
	e, ok := endpointOf(h)
	if !ok {
		return C.int32_t(eBadHandle)
	}
	return C.int32_t(code(e.SetOption(uint32(option), int64(value))))
}

//export gs_option_get
func gs_option_get(h C.uint64_t, option C.uint32_t) (result C.int64_t) {
	defer recovered(&result)
	e, ok := endpointOf(h)
	if !ok {
		return C.int64_t(eBadHandle)
	}
	v, err := e.GetOption(uint32(option))
	if err != nil {
		return C.int64_t(code(err))
	}
	return C.int64_t(v)
}
