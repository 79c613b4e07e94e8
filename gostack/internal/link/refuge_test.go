package link

import (
	"bytes"
	"testing"
)

// overtaken is a room that is over while the stack still has a segment that came before its turn.
func overtaken(t *testing.T, h *hall) {
	t.Helper()
	h.room = NewRoom(h.room.key, h.memory, nextByte, func(f func()) { h.vacated++; f() })
	if !h.wire.Offer(h.room) {
		t.Fatal("the one before is over")
	}
	h.comes(t, segmentFrame(7, 2000, 0, counted(3000, 500)))
	h.wire.Withdraw(h.room)
}

func TestWhereThingsAreMovedToIsUsedAgain(t *testing.T) {
	h := newHall(t)
	h.wire.Withdraw(h.room)
	overtaken(t, h)
	first := &layoutOf(h.wire.placer.moved.views[0]).chunk.data[0]
	overtaken(t, h) // the stack has the first still
	clear(h.memory)
	for _, payload := range h.payloads() {
		if !bytes.Equal(payload, counted(3000, 500)) {
			t.Fatal("what the stack has was written over")
		}
	}
	h.delivered[0].DecRef()
	h.delivered = h.delivered[1:]
	overtaken(t, h)
	if views := h.wire.placer.moved.views; len(views) != 2 || &layoutOf(views[1]).chunk.data[0] != first {
		t.Errorf("the memory that came back lies idle: %d pieces", len(views))
	}
	if h.vacated != 3 {
		t.Errorf("moved %d times", h.vacated)
	}
	for _, pkt := range h.delivered {
		pkt.DecRef()
	}
}

func TestOnlySoMuchIsKeptToBeUsedAgain(t *testing.T) {
	var r refuge
	for range 9 {
		r.keep(viewOver(r.take(1 << 20)))
	}
	if r.size() > mostMoved {
		t.Errorf("%d bytes", r.size())
	}
	r.keep(viewOver(r.take(8 << 20)))
	if r.size() != 0 {
		t.Errorf("%d bytes of %d", r.size(), mostMoved)
	}
}
