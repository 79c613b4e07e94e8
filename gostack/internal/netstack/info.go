package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Info is what there is to know of a connection at this moment.
type Info struct {
	State                  uint32
	RTT, RTTVar, RTO       uint32 // microseconds
	Cwnd, MSS, Retransmits uint32
	Unacked, Unread        uint32 // bytes
	FinAcked, FinReceived  bool
	Handshake              uint32 // microseconds
	PeerTTL                uint8
	Leaving                bool
}

// Info asks the endpoint and the observer.
func (e *Endpoint) Info() Info {
	var info Info
	if unread, err := e.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption); err == nil {
		info.Unread = uint32(unread)
	}
	seen := e.seen()
	info.PeerTTL = seen.PeerTTL
	info.Handshake = uint32(seen.Handshake.Microseconds())
	if !e.tcp {
		info.Leaving = e.stack.leaving()
		return info
	}
	info.State = e.ep.State()
	var t tcpip.TCPInfoOption
	if e.ep.GetSockOpt(&t) == nil {
		info.RTT, info.RTTVar = uint32(t.RTT.Microseconds()), uint32(t.RTTVar.Microseconds())
		info.RTO, info.Cwnd = uint32(t.RTO.Microseconds()), t.SndCwnd
	}
	info.MSS = uint32(e.maxSegment())
	if stats, ok := e.ep.Stats().(*tcp.Stats); ok {
		info.Retransmits = uint32(stats.SendErrors.Retransmits.Value())
	}
	written := e.written.Load()
	// The peer acknowledges our SYN, then the bytes, then our FIN: one number each.
	if delivered := max(seen.Acked, 1) - 1; delivered < written {
		info.Unacked = uint32(min(written-delivered, 1<<32-1))
	}
	info.FinAcked = e.finSent.Load() && seen.Acked >= written+2
	info.FinReceived = seen.FinReceived && finInOrder(tcp.EndpointState(info.State))
	return info
}

// finInOrder is false while a FIN that was seen cannot be taken, since bytes before it
// are missing.
func finInOrder(state tcp.EndpointState) bool {
	switch state {
	case tcp.StateCloseWait, tcp.StateLastAck, tcp.StateClosing, tcp.StateTimeWait, tcp.StateClose:
		return true
	}
	return false
}

// maxSegment is how many payload bytes a segment of this connection carries. gVisor
// tells only what a program asked for, so this is worked out as it does (tcp/connect.go,
// tcp/snd.go): from the peer's option, our own MTU, and what path MTU discovery found.
func (e *Endpoint) maxSegment() int {
	headers := header.IPv4MinimumSize + header.TCPMinimumSize
	if e.key.Version == 6 {
		headers = header.IPv6MinimumSize + header.TCPMinimumSize
	}
	seen := e.seen()
	mtu := int(e.stack.Link.IPMTU())
	if seen.LargestPacket != 0 {
		mtu = int(seen.LargestPacket)
	}
	mss := mtu - headers
	if seen.PeerMSS != 0 {
		mss = min(mss, int(seen.PeerMSS))
	}
	if asked, err := e.ep.GetSockOptInt(tcpip.MaxSegOption); err == nil && asked != header.TCPDefaultMSS {
		mss = min(mss, asked)
	}
	if seen.Timestamps {
		mss -= header.TCPOptionTSLength + 2 // two bytes of padding
	}
	return mss
}
