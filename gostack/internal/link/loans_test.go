package link

import (
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
)

func TestManyLoansAreEachMemoryOfItsOwn(t *testing.T) {
	var loans Loans
	defer loans.Free()
	var held []*buffer.View
	for i := range 200 { // three slabs
		view := loans.Take()
		b := view.AsSlice()
		if len(b) != firstView {
			t.Fatalf("number %d has %d bytes", i, len(b))
		}
		b[0], b[firstView-1] = byte(i), byte(i+1)
		held = append(held, view.Clone())
	}
	for i, view := range held {
		if b := view.AsSlice(); b[0] != byte(i) || b[firstView-1] != byte(i+1) {
			t.Fatalf("number %d was written over", i)
		}
	}
	first := &held[0].AsSlice()[0]
	held[0].Release()
	if again := loans.Take(); &again.AsSlice()[0] != first {
		t.Error("what came back is lent again")
	}
	for _, view := range held[1:] {
		view.Release()
	}
}
