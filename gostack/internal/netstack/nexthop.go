package netstack

import (
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"netkat/gostack/internal/link"
)

// NextHopSilent says that nobody answered ARP or neighbour discovery.
type NextHopSilent struct{ tcpip.ErrHostUnreachable }

// pendingFrames is how much one UDP endpoint may have waiting for its next hop's MAC.
// gVisor keeps 256 packets for each next hop and drops the oldest without a word.
const pendingFrames = 32

// nextHop is what a UDP endpoint knows of the neighbour that its datagrams go to. TCP
// needs none of this: it sends one SYN at a time, and gVisor fails its handshake.
type nextHop struct {
	mu          sync.Mutex
	destination netip.Addr
	state       hopState
	frames      int // sent while it was asked for
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

// admit lets a datagram pass, or holds it back until the next hop's MAC is known.
func (h *nextHop) admit(e *Endpoint, destination netip.Addr, size int) tcpip.Error {
	h.mu.Lock()
	ask := h.destination != destination || h.state == hopUnknown
	if ask {
		h.destination, h.state, h.frames = destination, hopPending, 0
	}
	h.mu.Unlock()
	if ask {
		// Not under the lock: the answer may be there at once, and is told from within.
		err := e.stack.askNextHop(e.key, destination, func(ok bool) { h.answered(e, destination, ok) })
		if err != nil {
			h.mu.Lock()
			h.state = hopUnknown
			h.mu.Unlock()
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != hopPending {
		return nil
	}
	if h.frames >= pendingFrames {
		return &tcpip.ErrWouldBlock{}
	}
	h.frames += 1 + size/int(e.stack.mtu)
	return nil
}

func (h *nextHop) answered(e *Endpoint, destination netip.Addr, ok bool) {
	h.mu.Lock()
	if h.destination == destination && h.state == hopPending {
		h.state = hopFailed
		if ok {
			h.state = hopKnown
		}
	}
	h.mu.Unlock()
	e.raise()
}

// askNextHop has done called, now or later, with whether the next hop towards a
// destination has a MAC. Errors: there is no route.
func (s *Stack) askNextHop(key link.FlowKey, destination netip.Addr, done func(ok bool)) tcpip.Error {
	local, protocol := keyLocal(key).Addr(), protocolOf(destination)
	route, err := s.stack.FindRoute(nic, addressOf(local), addressOf(destination), protocol, false)
	if err != nil {
		return err
	}
	defer route.Release()
	if !route.IsResolutionRequired() {
		done(true)
		return nil
	}
	hop := route.NextHop()
	if hop.BitLen() == 0 {
		hop = route.RemoteAddress() // on-link
	}
	err = s.stack.GetLinkAddress(nic, hop, route.LocalAddress(), protocol, func(r stack.LinkResolutionResult) {
		done(r.Err == nil)
	})
	if wouldBlock(err) {
		return nil
	}
	return err
}
