package link

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestInFlightIsFromUnacknowledgedToNext(t *testing.T) {
	for _, start := range []uint32{0, 1000, 1<<31 - 50, 1 << 31, 1<<32 - 50, 1<<32 - 100} {
		s := sequence{initial: start - 1, acked: start, next: start + 100, started: true}
		for offset, wanted := range map[uint32]bool{
			0: true, 1: true, 99: true, 100: false, 101: false,
			1 << 31: false, 1<<32 - 1: false, 1<<32 - 100: false, 1<<31 + 100: false,
		} {
			if s.inFlight(start+offset) != wanted {
				t.Errorf("from %d: number %d further is in flight: %v", start, int32(offset), !wanted)
			}
		}
	}
}

func TestNothingIsInFlightWhenAllIsAcknowledged(t *testing.T) {
	s := sequence{acked: 100, next: 100, started: true}
	for _, number := range []uint32{99, 100, 101} {
		if s.inFlight(number) {
			t.Error(number)
		}
	}
	if (&sequence{}).inFlight(0) {
		t.Error("no SYN was sent")
	}
}

func TestOnlyTheSYNIsInFlightWhileConnecting(t *testing.T) {
	var s sequence
	if !s.start(1<<32 - 1) {
		t.Fatal("a first SYN begins")
	}
	if s.start(1<<32 - 1) {
		t.Fatal("the same SYN again is a retransmission")
	}
	for number, wanted := range map[uint32]bool{1<<32 - 1: true, 0: false, 1<<32 - 2: false} {
		if s.inFlight(number) != wanted {
			t.Errorf("%d: %v", number, !wanted)
		}
	}
	if !s.start(77) || s.inFlight(1<<32-1) || !s.inFlight(77) {
		t.Error("another number is another connection")
	}
}

func TestRetransmissionsDoNotLowerNext(t *testing.T) {
	s := sequence{acked: 1<<32 - 10, next: 1<<32 - 10, started: true}
	for _, end := range []uint32{20, 1<<32 - 5, 20, 10} {
		s.advance(end)
	}
	if s.next != 20 {
		t.Fatal(s.next)
	}
}

func TestAcknowledgmentsOfWhatWasNotSentAreIgnored(t *testing.T) {
	s := sequence{acked: 1<<32 - 10, next: 20, started: true}
	for _, step := range []struct{ number, ahead uint32 }{
		{21, 0}, {1 << 31, 0}, {1<<32 - 11, 0}, {1<<32 - 10, 0}, {5, 15}, {5, 0}, {20, 15}, {21, 0},
	} {
		if ahead := s.acknowledge(step.number); ahead != step.ahead {
			t.Errorf("%d acknowledges %d, not %d", step.number, ahead, step.ahead)
		}
	}
	if (&sequence{next: 10}).acknowledge(5) != 0 {
		t.Error("no SYN was sent")
	}
}

func TestSegmentEndCountsSYNAndFIN(t *testing.T) {
	for flags, wanted := range map[header.TCPFlags]uint32{
		header.TCPFlagAck: 2, header.TCPFlagSyn: 3, header.TCPFlagFin | header.TCPFlagAck: 3, header.TCPFlagRst: 2,
	} {
		segment := make(header.TCP, header.TCPMinimumSize)
		segment.Encode(&header.TCPFields{SeqNum: 1<<32 - 1, Flags: flags, DataOffset: header.TCPMinimumSize})
		if end := segmentEnd(segment, 3); end != wanted {
			t.Errorf("flags %v: %d", flags, end)
		}
	}
}
