package link

import (
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
	words   []words
}

// words are a TCP segment without payload, and where in it is what it is compared by.
type words struct {
	pkt  *stack.PacketBuffer
	tcp  header.TCP
	ends []byte // both addresses
}

// takes keeps a packet that may wait; false where it may not. held: it is of a flow of which there are
// others, which it must not overtake.
func (l *late) takes(pkt *stack.PacketBuffer) (taken, held bool) {
	if !l.patient || pkt.TransportProtocolNumber != header.TCPProtocolNumber {
		return false, false
	}
	w := wordsOf(pkt)
	if len(w.tcp) < header.TCPMinimumSize {
		return false, false
	}
	if !w.mayWait() {
		return false, l.holds(&w)
	}
	pkt.IncRef()
	if !l.makesUp(&w) {
		l.words = append(l.words, w)
	}
	return true, false
}

// makesUp puts a FIN in the place of the ACK before it, which says no more.
func (l *late) makesUp(fin *words) bool {
	if fin.tcp.Flags()&header.TCPFlagFin == 0 {
		return false
	}
	for i := range l.words {
		if w := &l.words[i]; w.same(fin, portsAndSequence) && w.tcp.Flags() == header.TCPFlagAck {
			w.pkt.DecRef()
			*w = *fin
			return true
		}
	}
	return false
}

func (l *late) holds(next *words) bool {
	for i := range l.words {
		if l.words[i].same(next, ports) {
			return true
		}
	}
	return false
}

// goOn moves all to the end of pkts, in their order.
func (l *late) goOn(pkts []*stack.PacketBuffer) []*stack.PacketBuffer {
	for i := range l.words {
		pkts = append(pkts, l.words[i].pkt)
	}
	clear(l.words)
	l.words, l.aged = l.words[:0], false
	return pkts
}

func wordsOf(pkt *stack.PacketBuffer) words {
	w := words{pkt: pkt, tcp: header.TCP(pkt.TransportHeader().Slice())}
	h := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		w.ends = h[12:header.IPv4MinimumSize]
	} else {
		w.ends = h[8:header.IPv6MinimumSize]
	}
	return w
}

// mayWait says whether it is the end of a handshake or of a connection, and no more.
func (w *words) mayWait() bool {
	return w.tcp.Flags()&^header.TCPFlagFin == header.TCPFlagAck && w.pkt.Data().Size() == 0
}

const (
	ports            = 4 // bytes of a TCP header
	portsAndSequence = 8
)

// same says whether both have the same ends, and so many first bytes of the header.
func (w *words) same(other *words, first int) bool {
	return string(w.tcp[:first]) == string(other.tcp[:first]) && string(w.ends) == string(other.ends)
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
