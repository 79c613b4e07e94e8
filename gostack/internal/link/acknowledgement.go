package link

import (
	"bytes"
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Why: a thread that sends at length is woken for each acknowledgment, and gVisor does as much work
// for one as to send 64 KiB.
//
// A new gVisor breaks this if it measures round trips, or grows its window, by the number of
// acknowledgments and not by the bytes that they are of (tcp/snd.go, handleRcvdSegment).

// acknowledgement is a frame that says nothing but how far its sender has read. Of several in
// a row the last says it all: to take the others to the stack costs as much as to send a frame
// of 64 KiB. What says more is never held back: a duplicate, SACK blocks, data, any other flag.
type acknowledgement struct {
	frame    []byte
	protocol tcpip.NetworkProtocolNumber
	packet   parsed
}

// timestampsAlone are the options that a segment of the kernel's has which says nothing by
// them: two NOPs and timestamps (net/ipv4/tcp_output.c, tcp_options_write).
const timestampsAlone = 0x0101080a

// acknowledges says whether a segment is one that a later one makes up for.
func acknowledges(p *parsed) bool {
	if p.protocol != header.TCPProtocolNumber || p.fragment {
		return false
	}
	switch len(p.segment) {
	case header.TCPMinimumSize:
	case header.TCPMinimumSize + header.TCPOptionTSLength + 2:
		if binary.BigEndian.Uint32(p.segment[header.TCPMinimumSize:]) != timestampsAlone {
			return false
		}
	default:
		return false
	}
	tcp := header.TCP(p.segment)
	// The lower half of the byte before the flags is reserved, but for AccECN's bit.
	return int(tcp.DataOffset()) == len(p.segment) && tcp.Flags() == header.TCPFlagAck && p.segment[12]&15 == 0
}

// surpasses says whether an acknowledgement makes up for one that came before: of the same
// flow, at the same place of what the peer sends, and further in what we do.
func (p *parsed) surpasses(before *parsed) bool {
	if p.version != before.version || len(p.segment) != len(before.segment) || p.ttl != before.ttl ||
		!bytes.Equal(p.source, before.source) || !bytes.Equal(p.destination, before.destination) {
		return false
	}
	const portsAndSequence = 8
	if !bytes.Equal(p.segment[:portsAndSequence], before.segment[:portsAndSequence]) {
		return false
	}
	ahead := header.TCP(p.segment).AckNumber() - header.TCP(before.segment).AckNumber()
	return ahead != 0 && ahead < 1<<31
}
