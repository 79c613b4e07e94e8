package link

import (
	"encoding/binary"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// acknowledgment is a segment of the peer's; blocks is whether it says what came beyond a gap.
func acknowledgment(number uint32, window uint16, flags header.TCPFlags, blocks bool, payload int) header.TCP {
	options := make([]byte, 12) // as long as a block and its padding, so that only its kind differs
	for i := range options {
		options[i] = header.TCPOptionNOP
	}
	if blocks {
		header.EncodeSACKBlocks([]header.SACKBlock{{Start: 3000, End: 4000}}, options)
	}
	b := make(header.TCP, header.TCPMinimumSize+len(options)+payload)
	b.Encode(&header.TCPFields{
		AckNum: number, WindowSize: window, Flags: flags,
		DataOffset: uint8(header.TCPMinimumSize + len(options)),
	})
	copy(b[header.TCPMinimumSize:], options)
	return b
}

func TestDuplicatesOfferTheWindowOfTheOneBefore(t *testing.T) {
	const ack = header.TCPFlagAck
	steps := []struct {
		what          string
		segment       header.TCP
		offered, seen uint16
	}{
		{"something new", acknowledgment(2000, 0, ack, false, 0), 100, 100},
		{"a duplicate", acknowledgment(2000, 0, ack, true, 0), 103, 100},
		{"another", acknowledgment(2000, 0, ack, true, 0), 106, 100},
		{"one with payload", acknowledgment(2000, 0, ack, true, 1), 107, 107},
		{"one that ends the peer's direction", acknowledgment(2000, 0, ack|header.TCPFlagFin, true, 0), 108, 108},
		{"a window update, without a gap", acknowledgment(2000, 0, ack, false, 0), 109, 109},
		{"a duplicate that takes back", acknowledgment(2000, 0, ack, true, 0), 50, 50},
		{"one that closes the window", acknowledgment(2000, 0, ack, true, 0), 0, 0},
		{"one that opens it again", acknowledgment(2000, 0, ack, true, 0), 70, 70},
		{"a duplicate after that", acknowledgment(2000, 0, ack, true, 0), 90, 70},
		{"one of an older number", acknowledgment(1500, 0, ack, true, 0), 95, 95},
		{"something new, beside a gap", acknowledgment(2500, 0, ack, true, 0), 120, 120},
	}
	r := &record{sequence: sequence{started: true, initial: 1000, acked: 1000, next: 9000}}
	for _, step := range steps {
		binary.BigEndian.PutUint16(step.segment[windowAt:], step.offered)
		r.segment(step.segment, 64)
		if seen := step.segment.WindowSize(); seen != step.seen {
			t.Errorf("%s offers %d, and the stack sees %d, not %d", step.what, step.offered, seen, step.seen)
		}
	}
}

func TestDuplicatesOfAnUnknownStartAreLeftAlone(t *testing.T) {
	r := &record{}
	for _, window := range []uint16{100, 200} {
		segment := acknowledgment(0, window, header.TCPFlagAck, true, 0)
		r.segment(segment, 64)
		if segment.WindowSize() != window {
			t.Errorf("a window of %d became %d", window, segment.WindowSize())
		}
	}
}
