package netstack

import (
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
)

func TestMemoryToPourIntoIsLetGoOf(t *testing.T) {
	const many = 100
	e := &Endpoint{}
	distinct := func() int {
		e.pouring.Lock()
		defer e.pouring.Unlock()
		seen := map[*buffer.View]bool{}
		for range many {
			seen[e.loans.Take()] = true
		}
		return len(seen)
	}
	pour := func(pieces int) {
		e.pouring.Lock()
		defer e.donePouring()
		e.cameBack(pieces)
		var lent []buffer.Buffer
		for range pieces {
			lent = append(lent, e.lent([]byte("some")))
		}
		for i := range lent {
			lent[i].Release()
		}
		e.leftForNow()
	}
	var begun time.Time
	for begun.IsZero() || time.Since(begun) > keptFor*9/10 { // the machine stood still: once more
		begun = time.Now()
		pour(many)
		if distinct() != many {
			continue
		}
		time.Sleep(keptFor / 2)
	}
	begun = time.Now()
	pour(1)
	eventually(t, func() bool { return distinct() < many/2 })
	if took := time.Since(begun); took < keptFor {
		t.Errorf("gone after %v, though somebody came back", took)
	}
}
