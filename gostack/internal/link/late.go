package link

import (
	"bytes"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// mostLate is how many frames wait for each other at most: the ends of as many connections, or of
// half as many where each has an ACK and a FIN.
const mostLate = 16

// late are frames that nobody waits for, and that leave several at once: the peer is woken once for
// all of them. While it sleeps that is dearer than all else that the kernel does about one.
type late struct {
	patient bool
	aged    bool // the first of them was there at the last look
	pkts    []*stack.PacketBuffer
}

// takes keeps a packet that may wait; false where it may not.
func (l *late) takes(pkt *stack.PacketBuffer) bool {
	if !l.patient || !mayWait(pkt) {
		return false
	}
	if !l.makesUp(pkt) {
		l.pkts = append(l.pkts, pkt.IncRef())
	}
	return true
}

// makesUp puts a FIN in the place of the ACK before it, which says no more.
func (l *late) makesUp(fin *stack.PacketBuffer) bool {
	if tcpOf(fin).Flags()&header.TCPFlagFin == 0 {
		return false
	}
	for i, pkt := range l.pkts {
		if tcpOf(pkt).Flags() == header.TCPFlagAck && sameFlow(pkt, fin, portsAndSequence) {
			pkt.DecRef()
			l.pkts[i] = fin.IncRef()
			return true
		}
	}
	return false
}

// goOn moves all to the end of pkts, in their order.
func (l *late) goOn(pkts []*stack.PacketBuffer) []*stack.PacketBuffer {
	pkts = append(pkts, l.pkts...)
	clear(l.pkts)
	l.pkts, l.aged = l.pkts[:0], false
	return pkts
}

// mayWait says whether a packet is the end of a handshake or of a connection, and no more.
func mayWait(pkt *stack.PacketBuffer) bool {
	if pkt.TransportProtocolNumber != header.TCPProtocolNumber || pkt.Data().Size() > 0 {
		return false
	}
	tcp := tcpOf(pkt)
	return len(tcp) >= header.TCPMinimumSize && tcp.Flags()&^header.TCPFlagFin == header.TCPFlagAck
}

func tcpOf(pkt *stack.PacketBuffer) header.TCP { return header.TCP(pkt.TransportHeader().Slice()) }

// holds says whether there are segments of a packet's flow, which it must not overtake.
func (l *late) holds(pkt *stack.PacketBuffer) bool {
	if len(l.pkts) == 0 || pkt.TransportProtocolNumber != header.TCPProtocolNumber {
		return false
	}
	for _, one := range l.pkts {
		if sameFlow(one, pkt, ports) {
			return true
		}
	}
	return false
}

const (
	ports            = 4 // bytes of a TCP header
	portsAndSequence = 8
)

// sameFlow says whether two segments have the same ends, and so many first bytes of the header.
func sameFlow(a, b *stack.PacketBuffer, first int) bool {
	return bytes.Equal(tcpOf(a)[:first], tcpOf(b)[:first]) && bytes.Equal(ends(a), ends(b))
}

// ends are both addresses.
func ends(pkt *stack.PacketBuffer) []byte {
	h := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		return h[12:header.IPv4MinimumSize]
	}
	return h[8:header.IPv6MinimumSize]
}

// Patient has the queue keep the last words of handshakes and of connections, until there are several,
// until Hasten or Impatient.
func (e *Endpoint) Patient() { e.queue.bePatient() }

// Impatient ends that. What was kept waits to be drained, without a word to anybody.
func (e *Endpoint) Impatient() { e.queue.release(false) }

// Hasten has what was kept wait to be drained.
func (e *Endpoint) Hasten() { e.queue.release(true) }

// HastenOld is Hasten at every other call for the same: for who looks now and then. It says whether
// something waits since.
func (e *Endpoint) HastenOld() bool { return e.queue.prompt() }
