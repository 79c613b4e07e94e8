package netstack

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	// tcpBuffer is what a connection begins with, and tcpBufferMax what auto-tuning may
	// reach: 8 MiB keep 1 Gbit/s busy over 64 ms, as the kernel's tcp_rmem allows too.
	tcpBuffer    = 4 << 20
	tcpBufferMax = 8 << 20
	tcpBufferMin = 4 << 10

	// udpBuffer holds a burst of 2,800 datagrams of 1,500 bytes: gVisor's 32 KiB lose
	// datagrams whenever Python is not on the processor for some milliseconds.
	udpBuffer    = 4 << 20
	udpBufferMax = 32 << 20

	// timeWait: the local port is reserved and chosen anew for each connection, so
	// nothing can meet a late segment; gVisor's 60 s would keep memory for nothing.
	timeWait = 1 * time.Second
)

// nud asks for a next hop as the kernel does: three times, one second apart
// (net/core/neighbour.c: mcast_solicit 3, retrans_time 1 s).
func nud() stack.NUDConfigurations {
	c := stack.DefaultNUDConfigurations()
	c.MaxMulticastProbes = 3
	c.RetransmitTimer = time.Second
	return c
}

func tune(s *stack.Stack) tcpip.Error {
	sack := tcpip.TCPSACKEnabled(true)
	// CUBIC is what the kernel on the other side runs (RFC 9438). gVisor's serves until the first
	// bytes are sent, and then ours (congestion.go). RACK (RFC 8985) is not taken
	// from gVisor: with it comes a tail loss probe after two round trips, of which the shortest
	// is no shorter than a peer that is not on its processor for 2 ms. Linux waits two jiffies
	// more. The probe that was in vain halves the window: the ACK that it was too early for
	// says nothing of a duplicate (tcp/rack.go, detectTLPRecovery).
	congestion := tcpip.CongestionControlOption("cubic")
	recovery := tcpip.TCPRecovery(0)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBuffer, Max: tcpBufferMax}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBuffer, Max: tcpBufferMax}
	for _, option := range []tcpip.SettableTransportProtocolOption{
		&sack, &congestion, &recovery, &moderate, &wait, &receive, &send,
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return err
		}
	}
	if err := s.SetOption(tcpip.ReceiveBufferSizeOption{Min: tcpBufferMin, Default: udpBuffer, Max: udpBufferMax}); err != nil {
		return err
	}
	return s.SetOption(tcpip.SendBufferSizeOption{Min: tcpBufferMin, Default: udpBuffer, Max: udpBufferMax})
}
