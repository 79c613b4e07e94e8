// Package handle gives out 64-bit numbers for Go objects that C code holds.
//
// A number is never used twice, so a caller that holds a stale one gets a clean
// refusal where a reused number would reach somebody else's connection.
package handle

import "sync"

// Table maps handles to objects. The zero value is ready.
type Table struct {
	mu      sync.RWMutex
	last    uint64
	objects map[uint64]any
}

// Add gives the object a handle; the first is 1.
func (t *Table) Add(object any) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.objects == nil {
		t.objects = make(map[uint64]any)
	}
	t.last++
	t.objects[t.last] = object
	return t.last
}

// Get returns the object of a handle, if it is of that type and still there.
func Get[T any](t *Table, h uint64) (T, bool) {
	t.mu.RLock()
	object, ok := t.objects[h]
	t.mu.RUnlock()
	if !ok {
		var none T
		return none, false
	}
	typed, ok := object.(T)
	return typed, ok
}

// Remove takes a handle back; true for the one call that did it.
func (t *Table) Remove(h uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.objects[h]
	delete(t.objects, h)
	return ok
}

// Live counts the handles that are out.
func (t *Table) Live() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.objects)
}
