package netstack

import (
	"testing"
	"time"
)

func newTestBurst(t *testing.T) *burst {
	t.Helper()
	b, err := newBurst()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFirstDatagramIsNotGathered(t *testing.T) {
	if b := newTestBurst(t); b.gather(time.Now(), 1) {
		t.Fatal("it waits for others")
	}
}

func TestDatagramThatFollowsAtOnceIsGathered(t *testing.T) {
	b, now := newTestBurst(t), time.Now()
	b.gather(now, 1)
	if !b.gather(now.Add(burstGap/2), 1) || !b.waits.Load() {
		t.Fatal("it left alone")
	}
	if !b.armed {
		t.Fatal("no timer sends it")
	}
}

func TestGatheredDatagramsLeaveWhenThePacketIsFull(t *testing.T) {
	b, now := newTestBurst(t), time.Now()
	b.gather(now, 1)
	b.gather(now, 1)
	if b.gather(now, burstFrames) || b.waits.Load() {
		t.Fatal("they wait on")
	}
}

func TestGatheredDatagramsLeaveAfterTheGap(t *testing.T) {
	b, now := newTestBurst(t), time.Now()
	for i := range 10 {
		if waits := b.gather(now.Add(time.Duration(i)*burstGap/4), i+1); !waits && i == 5 {
			return
		}
	}
	t.Fatal("the first waited longer than the gap")
}
