package handle

import "testing"

func TestHandlesAreNeverReused(t *testing.T) {
	var table Table
	first := table.Add("one")
	if !table.Remove(first) || table.Remove(first) {
		t.Fatal("a handle is removed once")
	}
	if second := table.Add("two"); second == first {
		t.Fatalf("handle %d was given out twice", first)
	}
	if _, ok := Get[string](&table, first); ok {
		t.Fatal("a removed handle still works")
	}
}

func TestGetChecksTheType(t *testing.T) {
	var table Table
	h := table.Add(7)
	if _, ok := Get[string](&table, h); ok {
		t.Fatal("an int came out as a string")
	}
	if n, ok := Get[int](&table, h); !ok || n != 7 {
		t.Fatalf("got %d, %v", n, ok)
	}
	if table.Live() != 1 {
		t.Fatalf("%d handles live", table.Live())
	}
}
