package link

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// heldFrames bounds what waits for one next hop's MAC, as gVisor's own queue does
	// (stack/pending_packets.go). RFC 4861, 7.2.2: a new packet replaces the oldest.
	heldFrames = 256

	// lockTime is how long the first of several answers counts, where two neighbours claim one
	// address (the kernel's neigh/*/locktime).
	lockTime = time.Second

	// doubtEvery bounds how often an unanswered segment makes a next hop be resolved again.
	doubtEvery = 2 * time.Second

	// unlistedEvery is how often an address that gVisor's cache no longer lists is asked for:
	// the cache keeps 512 neighbours (stack.NeighborCacheSize), and there may be more next hops.
	unlistedEvery = 5 * time.Second

	// askAgain is when a next hop is asked for again that the cache dropped before it answered.
	askAgain = time.Second
)

// Hop is a next hop: an address on a link, and the MAC that frames for it are sent to. The
// states of RFC 4861 are gVisor's neighbour cache's; this follows them.
type Hop struct {
	Address netip.Addr // invalid where the MAC alone was given

	hops      *Hops
	mac       atomic.Uint64
	state     atomic.Uint32 // stack.NeighborState
	unlisted  atomic.Bool   // gVisor's cache has dropped it, and the MAC is the last known one
	asked     atomic.Int64  // nanoseconds since the table was made, of the last question
	doubted   atomic.Int64
	requests  atomic.Uint32 // ARP requests and neighbour solicitations sent for it
	replies   atomic.Uint32
	permanent bool // the MAC was given with the path

	// With the lock of hops held.
	users   int
	forget  bool // the MAC is to be forgotten with the cache's entry
	changed time.Time
	held    []*stack.PacketBuffer
	waiters []func(found bool)
}

// MAC returns the address that frames are sent to now.
func (h *Hop) MAC() MAC { return MAC(h.mac.Load()) }

// State returns the RFC 4861 state, by gVisor's numbers.
func (h *Hop) State() stack.NeighborState { return stack.NeighborState(h.state.Load()) }

// Hops are the next hops of one link.
type Hops struct {
	Dropped atomic.Uint64 // packets that waited for a MAC which was not found, or for too long

	resolver Resolver
	// pass is given the packets that waited, with the MAC written; fail those for which none was found.
	pass, fail func(pkts []*stack.PacketBuffer)
	confirm    func(h *Hop, local netip.Addr)
	start      time.Time

	mu        sync.Mutex
	byAddress map[netip.Addr]*Hop
}

// Resolver is gVisor's neighbour cache.
type Resolver interface {
	// Resolve uses a neighbour: it is asked for its MAC where that is unknown or in doubt.
	// found is called at once with a MAC that is known.
	Resolve(neighbor, local netip.Addr, found func(tcpip.LinkAddress))
	// Remove drops the entry; false where there was none.
	Remove(neighbor netip.Addr) bool
}

func newHops(edge *Endpoint) *Hops {
	return &Hops{
		pass: edge.passHeld, fail: edge.dropHeld, confirm: edge.confirm,
		start: time.Now(), byAddress: make(map[netip.Addr]*Hop),
	}
}

// acquire returns the next hop with an address, until release.
func (t *Hops) acquire(a netip.Addr) *Hop {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.get(a)
	h.users++
	return h
}

// get must be called with the lock held.
func (t *Hops) get(a netip.Addr) *Hop {
	h := t.byAddress[a]
	if h == nil {
		h = &Hop{Address: a, hops: t}
		t.byAddress[a] = h
	}
	return h
}

// fixed returns a next hop whose MAC is given: it is never asked for.
func (t *Hops) fixed(a netip.Addr, mac MAC) *Hop {
	h := &Hop{Address: a, hops: t, permanent: true}
	h.mac.Store(uint64(mac))
	h.state.Store(uint32(stack.Static))
	return h
}

func (h *Hop) release() {
	if h == nil || h.permanent {
		return
	}
	h.hops.mu.Lock()
	defer h.hops.mu.Unlock()
	h.users--
	h.dropUnused()
}

// dropUnused must be called with the lock held. A neighbour that gVisor's cache lists stays, so
// that its state is known when a flow uses it.
func (h *Hop) dropUnused() {
	if h.users == 0 && len(h.held) == 0 && len(h.waiters) == 0 && h.State() == stack.Unknown {
		delete(h.hops.byAddress, h.Address)
	}
}

// listed returns what the table has for the address: h itself, unless it was dropped meanwhile.
// The lock must be held.
func (h *Hop) listed() *Hop {
	known := h.hops.byAddress[h.Address]
	if known == nil {
		h.hops.byAddress[h.Address] = h
		return h
	}
	return known
}

// find returns a known next hop, or nil.
func (t *Hops) find(a netip.Addr) *Hop {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byAddress[a]
}

// use returns the MAC to send to now, and has gVisor's cache know that the next hop is in use.
func (h *Hop) use(local netip.Addr) MAC {
	mac := h.MAC()
	if h.permanent || !mac.Known() {
		return mac
	}
	// In the other states a packet changes nothing (RFC 4861, appendix C).
	if h.State() == stack.Stale || h.unlisted.Load() && h.due(&h.asked, unlistedEvery) {
		h.ask(local)
	}
	return mac
}

// due is true once in every interval.
func (h *Hop) due(last *atomic.Int64, interval time.Duration) bool {
	now, before := int64(time.Since(h.hops.start))+1, last.Load()
	return (before == 0 || now-before >= int64(interval)) && last.CompareAndSwap(before, now)
}

func (h *Hop) ask(local netip.Addr) {
	if local.Is4() != h.Address.Is4() {
		local = netip.Addr{}
	}
	h.hops.resolver.Resolve(h.Address, local, func(mac tcpip.LinkAddress) {
		// The entry was there before this next hop was: no change tells of it.
		if !h.MAC().Known() {
			h.hops.changed(h.Address, mac, stack.Reachable)
		}
	})
}

// hold keeps a packet until the MAC is known; false where it is known already.
func (h *Hop) hold(pkt *stack.PacketBuffer, local netip.Addr) bool {
	h.hops.mu.Lock()
	h = h.listed()
	if h.MAC().Known() {
		h.hops.mu.Unlock()
		return false
	}
	h.held = append(h.held, pkt.IncRef())
	var oldest *stack.PacketBuffer
	if len(h.held) > heldFrames {
		oldest, h.held = h.held[0], h.held[1:]
	}
	h.hops.mu.Unlock()
	if oldest != nil {
		h.hops.Dropped.Add(1)
		oldest.DecRef()
	}
	h.ask(local)
	return true
}

// Await calls done with whether a MAC was found: at once where it is known.
func (h *Hop) Await(local netip.Addr, done func(found bool)) {
	if h.permanent {
		done(true)
		return
	}
	h.hops.mu.Lock()
	h = h.listed()
	if h.MAC().Known() {
		h.hops.mu.Unlock()
		done(true)
		return
	}
	h.waiters = append(h.waiters, done)
	h.hops.mu.Unlock()
	h.ask(local)
}

// Holding reports whether packets wait for a MAC.
func (t *Hops) Holding() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.byAddress {
		if len(h.held) > 0 || len(h.waiters) > 0 {
			return true
		}
	}
	return false
}

// drop releases what waits, when the link is closed.
func (t *Hops) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.byAddress {
		release(h.held)
		h.held, h.waiters = nil, nil
	}
}

// Changed takes over what gVisor's cache says of a neighbour. gVisor holds the entry's lock.
func (t *Hops) Changed(a netip.Addr, mac tcpip.LinkAddress, state stack.NeighborState) {
	if state == stack.Incomplete {
		t.incomplete(a)
		return
	}
	if state == stack.Unreachable {
		t.failed(a, state)
		return
	}
	t.changed(a, mac, state)
}

func (t *Hops) incomplete(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.get(a)
	h.state.Store(uint32(stack.Incomplete))
	h.unlisted.Store(false)
}

func (t *Hops) changed(a netip.Addr, mac tcpip.LinkAddress, state stack.NeighborState) {
	t.mu.Lock()
	h := t.get(a)
	h.state.Store(uint32(state))
	h.unlisted.Store(false)
	known := macOf(mac)
	if h.MAC() != known {
		h.changed = time.Now()
	}
	// What waits goes first: packets of a flow keep their order.
	for len(h.held) > 0 {
		held := h.held
		h.held = nil
		t.mu.Unlock()
		for _, pkt := range held {
			known.put(pkt.LinkHeader().Slice())
		}
		t.pass(held)
		t.mu.Lock()
	}
	h.mac.Store(uint64(known))
	waiters := h.waiters
	h.waiters = nil
	t.mu.Unlock()
	for _, done := range waiters {
		done(true)
	}
}

func (t *Hops) failed(a netip.Addr, state stack.NeighborState) {
	t.mu.Lock()
	h := t.get(a)
	h.state.Store(uint32(state))
	h.mac.Store(0)
	held, waiters := h.held, h.waiters
	h.held, h.waiters = nil, nil
	h.dropUnused()
	t.mu.Unlock()
	t.Dropped.Add(uint64(len(held)))
	t.fail(held)
	for _, done := range waiters {
		done(false)
	}
}

// Removed says that gVisor's cache has dropped a neighbour. Where its room was needed the MAC
// counts until something better is known.
func (t *Hops) Removed(a netip.Addr) {
	t.mu.Lock()
	h := t.byAddress[a]
	if h == nil {
		t.mu.Unlock()
		return
	}
	h.state.Store(uint32(stack.Unknown))
	switch {
	case h.forget:
		h.forget = false
		h.mac.Store(0)
	case h.MAC().Known():
		h.unlisted.Store(true)
		h.asked.Store(int64(time.Since(t.start)) + 1)
	case len(h.held) > 0 || len(h.waiters) > 0:
		// That is no answer. At once, it would take the room of another that is asked for.
		time.AfterFunc(askAgain, func() { h.ask(netip.Addr{}) })
	}
	h.dropUnused()
	t.mu.Unlock()
}

// Forget drops a neighbour's MAC; the next packet asks for it.
func (t *Hops) Forget(a netip.Addr) {
	t.mu.Lock()
	h := t.byAddress[a]
	// While it is being asked for there is nothing to forget.
	if h == nil || h.State() == stack.Incomplete && !h.MAC().Known() {
		t.mu.Unlock()
		return
	}
	h.forget = true
	t.mu.Unlock()
	if !t.resolver.Remove(a) {
		t.Removed(a)
	}
}

// ForgetAll drops every MAC that was learned, as the kernel does when the interface's own changes
// (net/core/neighbour.c, neigh_changeaddr): asking again also shows the neighbours the new one.
func (t *Hops) ForgetAll() {
	t.mu.Lock()
	learned := make([]netip.Addr, 0, len(t.byAddress))
	for a, h := range t.byAddress {
		if h.State() != stack.Static {
			learned = append(learned, a)
		}
	}
	t.mu.Unlock()
	for _, a := range learned {
		t.Forget(a)
	}
}

// doubt resolves a next hop again, while frames go on to the MAC that is known: a segment had no
// answer, and the next hop's MAC may be another without an announcement. RFC 4861 alone would
// send 30 s to the old one, and ask it for 8 s more.
func (h *Hop) doubt(local netip.Addr) {
	if h.permanent || h.State() == stack.Static || !h.MAC().Known() || !h.due(&h.doubted, doubtEvery) {
		return
	}
	h.hops.resolver.Remove(h.Address)
	h.ask(local)
}
