package netstack

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netkat/gostack/internal/link"
)

// NextHopSilent says that nobody answered ARP or neighbour discovery.
type NextHopSilent struct{ tcpip.ErrHostUnreachable }

// pendingFrames is how much one UDP endpoint may have waiting for its next hop's MAC.
// The edge keeps 256 packets for each next hop, and drops the oldest.
const pendingFrames = 32

// nextHop is what a UDP endpoint knows of the neighbour that its datagrams go to. TCP
// needs none of this: it sends one SYN at a time.
type nextHop struct {
	known  atomic.Pointer[link.Hop] // of an endpoint with a peer: not looked up for each datagram
	mu     sync.Mutex
	hop    *link.Hop
	state  hopState
	frames int // sent while it was asked for
}

type hopState int

const (
	hopUnknown hopState = iota
	hopPending
	hopKnown
	hopFailed
)

func (h *nextHop) is(state hopState) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state == state
}

// pending is true when a sender has to wait for the answer.
func (h *nextHop) pending() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state == hopPending && h.frames >= pendingFrames
}

func (h *nextHop) failed() bool { return h.is(hopFailed) }

// takeFailure is true once after a failure; the next datagram asks anew.
func (h *nextHop) takeFailure() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != hopFailed {
		return false
	}
	h.state = hopUnknown
	return true
}

// reset is for another path: what is known is of another next hop.
func (h *nextHop) reset() {
	h.known.Store(nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hop, h.state, h.frames = nil, hopUnknown, 0
}

// admit lets a datagram pass, or holds it back until the next hop's MAC is known.
func (h *nextHop) admit(e *Endpoint, key link.FlowKey, size int) tcpip.Error {
	if known := h.known.Load(); known != nil && known.MAC().Known() && key == e.key {
		return nil
	}
	hop, ok := e.stack.Link.Observer.NextHop(key)
	if !ok {
		return &tcpip.ErrNetworkUnreachable{}
	}
	if hop == nil || hop.MAC().Known() {
		if key == e.key {
			h.known.Store(hop)
		}
		return nil
	}
	h.mu.Lock()
	ask := h.hop != hop || h.state != hopPending
	if ask {
		h.hop, h.state, h.frames = hop, hopPending, 0
	}
	h.mu.Unlock()
	if ask {
		// Not under the lock: the answer may be there at once.
		hop.Await(keyLocal(key).Addr(), func(found bool) { h.answered(e, hop, found) })
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != hopPending {
		return nil
	}
	if h.frames >= pendingFrames {
		return &tcpip.ErrWouldBlock{}
	}
	h.frames += 1 + size/int(e.stack.Link.IPMTU())
	return nil
}

func (h *nextHop) answered(e *Endpoint, hop *link.Hop, found bool) {
	h.mu.Lock()
	if h.hop == hop && h.state == hopPending {
		h.state = hopFailed
		if found {
			h.state = hopKnown
		}
	}
	h.mu.Unlock()
	e.raise()
}
