package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Info is what there is to know of a connection at this moment.
type Info struct {
	State                  uint32
	RTT, RTTVar, RTO       uint32 // microseconds
	Cwnd, MSS, Retransmits uint32
	Unacked, Unread        uint32 // bytes
	FinAcked, FinReceived  bool
}

// Info asks the endpoint and the observer.
func (e *Endpoint) Info() Info {
	var info Info
	if unread, err := e.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption); err == nil {
		info.Unread = uint32(unread)
	}
	if !e.tcp {
		return info
	}
	info.State = e.ep.State()
	var t tcpip.TCPInfoOption
	if e.ep.GetSockOpt(&t) == nil {
		info.RTT, info.RTTVar = uint32(t.RTT.Microseconds()), uint32(t.RTTVar.Microseconds())
		info.RTO, info.Cwnd = uint32(t.RTO.Microseconds()), t.SndCwnd
	}
	if mss, err := e.ep.GetSockOptInt(tcpip.MaxSegOption); err == nil {
		info.MSS = uint32(mss)
	}
	if stats, ok := e.ep.Stats().(*tcp.Stats); ok {
		info.Retransmits = uint32(stats.SendErrors.Retransmits.Value())
	}
	seen := e.stack.Link.Observer.See(e.key)
	written := e.written.Load()
	// The peer acknowledges our SYN, then the bytes, then our FIN: one number each.
	if delivered := max(seen.Acked, 1) - 1; delivered < written {
		info.Unacked = uint32(min(written-delivered, 1<<32-1))
	}
	info.FinAcked = e.finSent.Load() && seen.Acked >= written+2
	info.FinReceived = seen.FinReceived
	return info
}
