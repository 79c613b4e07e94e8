package netstack

import (
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netkat/gostack/internal/gvisorinternals"
)

// Why: gVisor hands each segment to a processor goroutine. To wake one costs more than the work, and the
// answer is queued only after: ping-pong takes 2.4 times as long.
//
// A new gVisor breaks this if UnlockUser processes segments itself or wakes no processor, if the processor does
// more for a segment than Process (tcp/dispatcher.go, processor.start), or if innerTCP lacks a method that
// gVisor asks TCP for: then the stack has no TCP, which every test notices.

// inlineTCP is gVisor's TCP, but the thread that injects a batch of frames does the
// TCP work of them itself. gVisor hands every segment to one of its processor
// goroutines: to wake it costs a thread's wake-up, more than the work, and the
// answer is in the queue only after.
//
// It rests on what the endpoint's lock says of itself: a segment that arrives while a
// user holds the lock wakes nobody, since UnlockUser looks for it. So segments are queued
// with the lock taken as a user; it is let go in a way that leaves that mark behind for
// the work, and taken and let go properly after it: whatever still waits then goes to the
// processors after all.
type inlineTCP struct {
	innerTCP

	mu       sync.Mutex
	batching bool
	arrived  []arrival
	spare    []arrival
}

// arrival is a segment of a known endpoint.
type arrival struct {
	e   *tcp.Endpoint
	id  stack.TransportEndpointID
	pkt *stack.PacketBuffer
}

// innerTCP is all that gVisor asks of its TCP.
type innerTCP interface {
	stack.TransportProtocol
	stack.SendBufSizeProto
	QueuePacket(ep stack.TransportEndpoint, id stack.TransportEndpointID, pkt *stack.PacketBuffer)
}

func newInlineTCP(s *stack.Stack) *inlineTCP {
	return &inlineTCP{innerTCP: tcp.NewProtocol(s).(innerTCP)}
}

// QueuePacket is called by gVisor for each segment of a known endpoint, with a lock of its
// demultiplexer held that who closes the endpoint waits for, holding the endpoint's: that
// one must not be waited for here.
func (p *inlineTCP) QueuePacket(ep stack.TransportEndpoint, id stack.TransportEndpointID, pkt *stack.PacketBuffer) {
	e, ok := ep.(*tcp.Endpoint)
	if !ok || !p.collect(arrival{e, id, pkt}) {
		p.innerTCP.QueuePacket(ep, id, pkt)
	}
}

// collect keeps a segment for the end of the batch; false where there is none.
func (p *inlineTCP) collect(a arrival) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.batching {
		return false
	}
	a.pkt.IncRef()
	p.arrived = append(p.arrived, a)
	return true
}

// begin starts a batch; only one thread injects at a time.
func (p *inlineTCP) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batching = true
}

// finish does the TCP work of the batch.
func (p *inlineTCP) finish() {
	p.mu.Lock()
	p.batching = false
	arrived := p.arrived
	p.arrived = p.spare[:0]
	p.mu.Unlock()
	for i := range arrived {
		if e := arrived[i].e; e != nil {
			e.LockUser()
			p.queue(e, arrived[i:])
			e.ResumeWork() // unlocks, and leaves the mark
			gvisorinternals.Process(e)
			e.LockUser()
			e.UnlockUser()
		}
	}
	p.spare = arrived
}

// queue gives an endpoint its segments and takes them off the list.
func (p *inlineTCP) queue(e *tcp.Endpoint, arrived []arrival) {
	for i := range arrived {
		if a := &arrived[i]; a.e == e {
			p.innerTCP.QueuePacket(e, a.id, a.pkt)
			a.pkt.DecRef()
			*a = arrival{}
		}
	}
}
