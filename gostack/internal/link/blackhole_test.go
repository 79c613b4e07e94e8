package link

import "testing"

func TestStallIsTheOldestSegmentSentFourTimes(t *testing.T) {
	r := &record{sequence: sequence{started: true, acked: 1000, next: 9000}}
	for range 3 {
		if mtu := r.stalled(1000, 4, 1500); mtu != 0 {
			t.Fatalf("too early: %d", mtu)
		}
		r.stalled(2000, 4, 1500) // a later one does not count
	}
	if mtu := r.stalled(1000, 4, 1500); mtu != 1280 {
		t.Fatalf("%d", mtu)
	}
	for range 3 {
		r.stalled(1000, 4, 1280)
	}
	if mtu := r.stalled(1000, 4, 1280); mtu != 576 {
		t.Fatalf("%d", mtu)
	}
}

func TestStallEndsWithAnAcknowledgment(t *testing.T) {
	r := &record{sequence: sequence{started: true, acked: 1000, next: 9000}}
	for range 3 {
		r.stalled(1000, 6, 1500)
	}
	r.acked = 2000
	if mtu := r.stalled(2000, 6, 1500); mtu != 0 {
		t.Fatalf("%d", mtu)
	}
}

func TestNoPathIsTooNarrowForSmallSegments(t *testing.T) {
	r := &record{sequence: sequence{started: true, acked: 1000, next: 9000}}
	for range 20 {
		if mtu := r.stalled(1000, 6, 1280); mtu != 0 {
			t.Fatalf("%d", mtu)
		}
	}
}
