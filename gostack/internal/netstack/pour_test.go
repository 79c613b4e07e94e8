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
	pour(many)
	if n := distinct(); n != many {
		t.Fatalf("%d pieces for those who come back soon", n)
	}
	time.Sleep(keptFor / 2)
	pour(1)
	time.Sleep(keptFor * 3 / 4)
	if n := distinct(); n != many {
		t.Errorf("%d pieces, though somebody came back meanwhile", n)
	}
	eventually(t, func() bool { return distinct() < many/2 })
}
