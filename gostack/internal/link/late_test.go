package link

import (
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

type spoken struct {
	port    uint16
	seq     uint32
	flags   header.TCPFlags
	payload string
	v6      bool
}

func (s spoken) packet() *stack.PacketBuffer {
	network := header.IPv4MinimumSize
	if s.v6 {
		network = header.IPv6MinimumSize
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: network + header.TCPMinimumSize,
		Payload:            buffer.MakeWithData([]byte(s.payload)),
	})
	pkt.TransportProtocolNumber = header.TCPProtocolNumber
	header.TCP(pkt.TransportHeader().Push(header.TCPMinimumSize)).Encode(&header.TCPFields{
		SrcPort: s.port, DstPort: 80, SeqNum: s.seq, DataOffset: header.TCPMinimumSize, Flags: s.flags,
	})
	a, b := tcpip.AddrFrom4([4]byte{10, 0, 0, 1}), tcpip.AddrFrom4([4]byte{10, 0, 0, 2})
	pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
	if !s.v6 {
		header.IPv4(pkt.NetworkHeader().Push(network)).Encode(&header.IPv4Fields{SrcAddr: a, DstAddr: b})
		return pkt
	}
	pkt.NetworkProtocolNumber = header.IPv6ProtocolNumber
	header.IPv6(pkt.NetworkHeader().Push(network)).Encode(&header.IPv6Fields{
		SrcAddr: tcpip.AddrFrom16([16]byte{15: 1}), DstAddr: tcpip.AddrFrom16([16]byte{15: 2}),
	})
	return pkt
}

const ack, fin, syn, rst = header.TCPFlagAck, header.TCPFlagFin, header.TCPFlagSyn, header.TCPFlagRst

// pushed is a queue that was given these, and what may be drained of it.
func pushed(t *testing.T, patient bool, all ...spoken) (*queue, []*stack.PacketBuffer) {
	t.Helper()
	q, err := newQueue()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.close)
	if patient {
		q.bePatient()
	}
	for _, one := range all {
		pkt := one.packet()
		if n := q.push([]*stack.PacketBuffer{pkt}); n != 1 {
			t.Fatal("there is room")
		}
		pkt.DecRef()
	}
	return q, drained(t, q)
}

func drained(t *testing.T, q *queue) []*stack.PacketBuffer {
	t.Helper()
	out, _ := q.pop(nil, 100)
	t.Cleanup(func() { release(out) })
	return out
}

func TestOnlyLastWordsWait(t *testing.T) {
	for what, one := range map[string]spoken{
		"an ACK": {port: 1, seq: 5, flags: ack}, "a FIN": {port: 1, seq: 5, flags: ack | fin},
		"an IPv6 FIN": {port: 1, seq: 5, flags: ack | fin, v6: true},
	} {
		if _, now := pushed(t, true, one); len(now) != 0 {
			t.Errorf("%s does not wait", what)
		}
		if _, now := pushed(t, false, one); len(now) != 1 {
			t.Errorf("%s waits though somebody is in a hurry", what)
		}
	}
	for what, one := range map[string]spoken{
		"a SYN": {flags: syn}, "a SYN and ACK": {flags: syn | ack}, "a RST": {flags: rst},
		"a RST and ACK": {flags: rst | ack}, "data": {flags: ack, payload: "x"},
		"data and FIN": {flags: ack | fin, payload: "x"}, "a push": {flags: ack | header.TCPFlagPsh},
	} {
		if _, now := pushed(t, true, one); len(now) != 1 {
			t.Errorf("%s waits", what)
		}
	}
}

func TestAFinMakesUpForTheACKBeforeIt(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		q, _ := pushed(t, true,
			spoken{port: 1, seq: 5, flags: ack, v6: v6}, spoken{port: 2, seq: 5, flags: ack, v6: v6},
			spoken{port: 3, seq: 5, flags: ack, v6: v6}, spoken{port: 2, seq: 5, flags: ack | fin, v6: v6},
			spoken{port: 3, seq: 6, flags: ack | fin, v6: v6}, spoken{port: 1, seq: 5, flags: ack | fin, v6: !v6})
		q.release(true)
		var got []spoken
		for _, pkt := range drained(t, q) {
			got = append(got, spoken{wordsOf(pkt).tcp.SourcePort(), wordsOf(pkt).tcp.SequenceNumber(), wordsOf(pkt).tcp.Flags(), "", false})
		}
		want := []spoken{{1, 5, ack, "", false}, {2, 5, ack | fin, "", false}, {3, 5, ack, "", false}, {3, 6, ack | fin, "", false}, {1, 5, ack | fin, "", false}}
		if len(got) != len(want) {
			t.Fatalf("%v", got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%v in place of %v", got[i], want[i])
			}
		}
	}
}

func TestSeveralLeaveAtOnce(t *testing.T) {
	var all []spoken
	for port := range mostLate {
		all = append(all, spoken{port: uint16(port), flags: ack | fin})
	}
	if _, now := pushed(t, true, all[1:]...); len(now) != 0 {
		t.Errorf("%d did not wait for the last", len(now))
	}
	q, now := pushed(t, true, all...)
	if len(now) != mostLate {
		t.Fatalf("%d", len(now))
	}
	q.push(packets(1))
	if n := len(drained(t, q)); n != 1 {
		t.Errorf("%d, of something else", n)
	}
}

func TestNothingWaitsForLong(t *testing.T) {
	one := spoken{flags: ack}
	q, _ := pushed(t, true, one)
	if q.prompt() || len(drained(t, q)) != 0 {
		t.Error("it has come just now, for all one knows")
	}
	if !q.prompt() || len(drained(t, q)) != 1 {
		t.Error("it was there at the look before")
	}
	if q.prompt() {
		t.Error("nothing is left")
	}
	q, _ = pushed(t, true, one)
	q.release(true)
	if len(drained(t, q)) != 1 {
		t.Error("released")
	}
	again := one.packet()
	defer again.DecRef()
	q.push([]*stack.PacketBuffer{again})
	if len(drained(t, q)) != 0 {
		t.Error("what comes after that may wait")
	}
	q.release(false)
	if len(drained(t, q)) != 1 {
		t.Error("released")
	}
	q.push([]*stack.PacketBuffer{again})
	if len(drained(t, q)) != 1 {
		t.Error("nothing waits any more")
	}
}

func TestNothingOvertakesItsOwnFlow(t *testing.T) {
	last := spoken{port: 1, seq: 9, flags: ack}
	for _, next := range []spoken{{port: 1, seq: 7000, flags: syn}, {port: 1, seq: 9, flags: rst}} {
		if _, now := pushed(t, true, last, next); len(now) != 2 || wordsOf(now[0]).tcp.Flags() != ack {
			t.Errorf("%d leave", len(now))
		}
	}
	for _, next := range []spoken{{port: 2, seq: 7000, flags: syn}, {port: 1, flags: syn, v6: true}} {
		if _, now := pushed(t, true, last, next); len(now) != 1 {
			t.Errorf("%d leave", len(now))
		}
	}
}
