package link

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Why: gVisor counts an acknowledgment as a duplicate only if it offers the same window as the one before
// (tcp/snd.go, isDupAck: RFC 5681, 2). The kernel's receiver widens its window with each segment that comes
// out of order while the window is small (net/ipv4/tcp_input.c, tcp_data_queue_ofo), so that no two of its
// duplicates are alike: the loss is found by the retransmission timer alone. With SACK the blocks say what
// is a duplicate (RFC 6675, 2). So a duplicate is given the window of the one before, and the wider one
// comes with the next acknowledgment of something new.
//
// A new gVisor makes this unnecessary if isDupAck goes by SACK blocks. It breaks this if gVisor verifies the
// checksum again, which does not cover the changed window.

// windowAt is where in the TCP header the window is.
const windowAt = 14

// steadyWindow has a duplicate acknowledgment offer no wider a window than the segment before;
// the observer's lock is held. What it is told of the checksum the stack does not verify again.
func (r *record) steadyWindow(tcp header.TCP, acknowledges bool) {
	window := binary.BigEndian.Uint16(tcp[windowAt:])
	// A window that opens again is the very news: the sender has stopped, and probes.
	if !acknowledges && window > r.window && r.window != 0 && r.isDuplicate(tcp) {
		binary.BigEndian.PutUint16(tcp[windowAt:], r.window)
		return
	}
	r.window = window
}

// isDuplicate is whether a segment does nothing but to say what came beyond a gap.
func (r *record) isDuplicate(tcp header.TCP) bool {
	const other = header.TCPFlagSyn | header.TCPFlagFin | header.TCPFlagRst
	offset := int(tcp.DataOffset())
	if !r.started || tcp.Flags()&other != 0 || offset <= header.TCPMinimumSize || offset != len(tcp) {
		return false
	}
	return tcp.AckNumber() == r.acked && len(header.ParseTCPOptions(tcp.Options()).SACKBlocks) != 0
}
