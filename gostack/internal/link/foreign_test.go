package link

import (
	"reflect"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
)

func TestTheLayoutIsGVisors(t *testing.T) {
	view := reflect.TypeFor[buffer.View]()
	entry := view.Field(0).Type
	ours := reflect.TypeFor[viewLayout]()
	if view.Size() != ours.Size() || entry.NumField() != 2 || entry.Field(0).Name != "next" || entry.Field(1).Name != "prev" {
		t.Fatalf("a View is %v, not %v", view, ours)
	}
	chunk, _ := view.FieldByName("chunk")
	for name, offset := range map[string]uintptr{
		"read": ours.Field(2).Offset, "write": ours.Field(3).Offset, "chunk": ours.Field(4).Offset,
	} {
		field, found := view.FieldByName(name)
		if !found || field.Offset != offset {
			t.Errorf("%s lies at %d, not at %d", name, field.Offset, offset)
		}
	}
	theirs, mine := chunk.Type.Elem(), reflect.TypeFor[chunkLayout]()
	if theirs.Size() != mine.Size() || theirs.NumField() != 2 {
		t.Fatalf("a chunk is %v, not %v", theirs, mine)
	}
	if refs := theirs.Field(0); refs.Offset != 0 || refs.Type.Size() != 8 {
		t.Errorf("the count of references is %v", refs)
	}
	if data, found := theirs.FieldByName("data"); !found || data.Offset != mine.Field(1).Offset || data.Type != mine.Field(1).Type {
		t.Errorf("the data are %v", data)
	}
}

func TestAViewOverOthersMemory(t *testing.T) {
	memory := make([]byte, 2*firstView)
	copy(memory[10:], "others' memory")
	v := viewOver(memory)
	if sharesChunk(v) {
		t.Fatal("nobody else has one yet")
	}
	part := partOf(v, 10, 24)
	if string(part.AsSlice()) != "others' memory" || &part.AsSlice()[0] != &memory[10] || !sharesChunk(v) {
		t.Fatalf("the part is %q", part.AsSlice())
	}
	part.Release()
	if sharesChunk(v) {
		t.Fatal("the part was released")
	}
	v.Release()
}
