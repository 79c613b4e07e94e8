package link

import "testing"

func TestMemoryComesBackAsItIs(t *testing.T) {
	var lent leases
	defer lent.free()
	first := newLease(firstView)
	copy(first.view.AsSlice(), "a frame")
	held := first.part(2, 7)
	second := lent.exchange(first)
	if second == first {
		t.Fatal("the stack still reads it")
	}
	defer second.free()
	if string(held.AsSlice()) != "frame" {
		t.Fatalf("the stack sees %q", held.AsSlice())
	}
	held.Release()
	third := newLease(firstView)
	if back := lent.exchange(third); back != first || string(back.view.AsSlice()[:7]) != "a frame" {
		t.Fatal("what the stack has let go of is received into again, as it is")
	}
	first.free()
}

func TestMemoryThatIsHeldForLongIsNotWaitedFor(t *testing.T) {
	var lent leases
	now := newLease(firstView)
	var parts []interface{ Release() }
	for range mostLent + 10 {
		parts = append(parts, now.part(0, 1))
		now = lent.exchange(now)
	}
	if len(lent.queue) != mostLent {
		t.Fatalf("%d are kept", len(lent.queue))
	}
	oldest := len(parts) - mostLent
	for i, part := range parts {
		if i != oldest {
			part.Release()
		}
	}
	lent.settle()
	lent.settle()
	if len(lent.queue) != fewLent {
		t.Fatalf("%d are kept when nothing comes any more but one is held", len(lent.queue))
	}
	parts[oldest].Release()
	lent.free()
	now.free()
}
