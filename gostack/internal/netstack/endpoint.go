package netstack

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"netkat/gostack/internal/gvisorinternals"
	"netkat/gostack/internal/link"
)

// Endpoint is one TCP connection, TCP listener or UDP endpoint. Nothing on it waits.
type Endpoint struct {
	stack   *Stack
	ep      tcpip.Endpoint
	queue   *waiter.Queue
	entry   waiter.Entry
	tcp     bool
	key     link.FlowKey
	watched bool

	readable, writable signal
	both               readiness
	written            atomic.Uint64 // payload bytes that gVisor took
	finSent            atomic.Bool
	icmpArrived        atomic.Uint32 // ICMP errors about the flow
	icmpReported       atomic.Uint32 // how many of them were reported to the caller
	hop                nextHop
	minTTL             atomic.Uint32
	chosen             atomic.Uint32 // options that SetOption has set, a bit for each GS_OPT_ number
	keepCount          atomic.Uint32 // OptKeepCount, where it was set
	maxPayload         atomic.Uint32 // of a TCP segment, where less was asked for than the link carries

	bridged atomic.Bool
	// controlled is whether the sender's congestion control is ours (sender.go).
	controlled atomic.Bool

	reading sync.Mutex // TCP: held by who reads, until he has all of one piece
	pourer  pourer
	pouring sync.Mutex // held by who pours into loans
	loans   link.Loans

	resizing sync.Mutex
	lowest   uint32 // the lowest path MTU that was passed to gVisor; guarded by resizing

	mu     sync.Mutex
	bridge *bridge
	open   bool        // TCP: the handshake is over
	failed tcpip.Error // TCP: why there is no connection, or none any more
	closed bool
}

const readEvents = waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr | waiter.EventRdHUp
const writeEvents = waiter.WritableEvents | waiter.EventHUp | waiter.EventErr

// Connect begins a TCP connection, or opens a connected UDP endpoint, whose packets take a path;
// nil has the routes decide.
func (s *Stack) Connect(protocol uint8, local, remote netip.AddrPort, path *Path) (_ *Endpoint, err tcpip.Error) {
	e, err := s.open(protocol, local, false)
	if err != nil {
		return nil, err
	}
	e.takeAll()
	e.watch(remote)
	if err = e.limitSegment(path); err == nil {
		err = e.begin(remote, path)
	}
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		err = nil
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// begin sends the SYN.
func (e *Endpoint) begin(remote netip.AddrPort, path *Path) (err tcpip.Error) {
	if path != nil {
		err = e.SetPath(path)
	} else if _, ok := e.stack.Link.Observer.NextHop(e.key); !ok {
		err = &tcpip.ErrNetworkUnreachable{}
	}
	if err == nil {
		e.stack.pump.ask(func() { err = e.ep.Connect(full(remote)) })
	}
	return err
}

// Bind opens a UDP endpoint without a peer.
func (s *Stack) Bind(local netip.AddrPort) (*Endpoint, tcpip.Error) {
	return s.open(uint8(header.UDPProtocolNumber), local, false)
}

// Listen opens a TCP listener.
func (s *Stack) Listen(local netip.AddrPort, backlog int) (*Endpoint, tcpip.Error) {
	// Connections of an earlier listener may still have the port.
	e, err := s.open(uint8(header.TCPProtocolNumber), local, true)
	if err != nil {
		return nil, err
	}
	if err = s.sendWith(e); err == nil {
		err = e.ep.Listen(backlog)
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Accept takes a connection from the listener's queue.
func (e *Endpoint) Accept() (*Endpoint, netip.AddrPort, tcpip.Error) {
	var from tcpip.FullAddress
	ep, wq, err := e.ep.Accept(&from)
	e.readable.settle(e.canRead)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	conn := e.stack.wrap(ep, wq, true)
	conn.open = true
	conn.minTTL.Store(e.minTTL.Load())
	conn.maxPayload.Store(e.maxPayload.Load())
	peer := addrPort(from)
	// On a peer that is gone already this fails, and its first read says why.
	if local, err := ep.GetLocalAddress(); err == nil {
		conn.key = flowKey(uint8(header.TCPProtocolNumber), addrPort(local), netip.AddrPort{})
		conn.inherit(e)
		conn.watch(peer)
	}
	return conn, peer, nil
}

func (s *Stack) open(protocol uint8, local netip.AddrPort, reuse bool) (*Endpoint, tcpip.Error) {
	transport := tcp.ProtocolNumber
	if protocol == uint8(header.UDPProtocolNumber) {
		transport = udp.ProtocolNumber
	}
	wq := &waiter.Queue{}
	ep, err := s.stack.NewEndpoint(transport, protocolOf(local.Addr()), wq)
	if err != nil {
		return nil, err
	}
	ep.SocketOptions().SetReuseAddress(reuse)
	e := s.wrap(ep, wq, transport == tcp.ProtocolNumber)
	e.key = flowKey(protocol, local, netip.AddrPort{})
	if !e.tcp {
		// RFC 8085: a sender that knows no better may fragment; PMTU discovery by
		// dropping would turn a large datagram into an error nobody asked for.
		_ = ep.SetSockOptInt(tcpip.MTUDiscoverOption, int(tcpip.PMTUDiscoveryDont))
	}
	if err = s.applyDefaults(e); err == nil {
		err = ep.Bind(full(local))
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (s *Stack) wrap(ep tcpip.Endpoint, wq *waiter.Queue, isTCP bool) *Endpoint {
	e := &Endpoint{stack: s, ep: ep, queue: wq, tcp: isTCP}
	e.entry.Init(e, readEvents|writeEvents)
	wq.EventRegister(&e.entry)
	s.adopt(e)
	return e
}

func (e *Endpoint) watch(remote netip.AddrPort) {
	e.key = flowKey(e.key.Protocol, keyLocal(e.key), remote)
	e.watched = true
	e.stack.Link.Observer.Watch(e.key, e.icmpError, e.retransmitTooLarge)
	e.stack.Link.Observer.RequireTTL(e.key, uint8(e.minTTL.Load()))
	e.stack.Link.Observer.LimitSize(e.key, e.largestPacket())
}

// takeAll ends what an endpoint without a peer asked of every packet's TTL.
func (e *Endpoint) takeAll() {
	if e.minTTL.Load() != 0 {
		e.stack.Link.Observer.RequireTTL(e.key, 0)
	}
}

func (e *Endpoint) seen() link.Seen {
	if !e.watched {
		return link.Seen{}
	}
	return e.stack.Link.Observer.See(e.key)
}

// NotifyEvent implements waiter.EventListener; gVisor's queue lock is held.
func (e *Endpoint) NotifyEvent(mask waiter.EventMask) {
	if mask&readEvents != 0 {
		e.readable.raise()
	}
	if mask&writeEvents != 0 {
		e.writable.raise()
	}
}

// icmpError is called for each ICMP error about the flow.
func (e *Endpoint) icmpError() {
	e.icmpArrived.Add(1)
	e.raise()
}

func (e *Endpoint) raise() {
	e.readable.raise()
	e.writable.raise()
}

// ConnectResult is nil once open, ErrConnectStarted while not decided.
func (e *Endpoint) ConnectResult() tcpip.Error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open || !e.tcp {
		return nil
	}
	if e.failed != nil {
		return e.failed
	}
	switch tcp.EndpointState(e.ep.State()) {
	case tcp.StateEstablished, tcp.StateCloseWait, tcp.StateFinWait1, tcp.StateFinWait2,
		tcp.StateClosing, tcp.StateLastAck, tcp.StateTimeWait:
		e.open = true
		e.flushHandshake()
		return nil
	case tcp.StateError, tcp.StateClose:
		e.failed = e.ep.LastError()
		if e.failed == nil {
			e.failed = &tcpip.ErrConnectionAborted{}
		}
		return e.failed
	}
	// gVisor ends a connect for some ICMP errors only; the kernel does for each of
	// them (net/ipv4/tcp_ipv4.c, tcp_v4_err in SYN_SENT), and so does this.
	if seen := e.seen(); seen.ICMPErrors > 0 || seen.Unanswered > 0 {
		e.failed = &tcpip.ErrHostUnreachable{}
		if seen.ICMPErrors == 0 {
			e.failed = &NextHopSilent{}
		}
		e.ep.Abort()
		return e.failed
	}
	e.writable.settle(e.canWrite)
	return &tcpip.ErrConnectStarted{}
}

// flushHandshake returns when the final ACK of the handshake has been handed to the kernel. gVisor
// reports the connection before it has made that segment, with the endpoint's lock held
// (tcp/connect.go, synSentState), and another thread may be sending it.
func (e *Endpoint) flushHandshake() {
	if ep, ok := e.ep.(*tcp.Endpoint); ok {
		ep.LockUser()
		ep.UnlockUser()
		_ = e.stack.wire.Flush()
	}
}

// Shutdown ends the read side (1), the write side (2), or both (3).
func (e *Endpoint) Shutdown(how uint32) tcpip.Error {
	var flags tcpip.ShutdownFlags
	if how&1 != 0 {
		flags |= tcpip.ShutdownRead
	}
	if how&2 != 0 {
		flags |= tcpip.ShutdownWrite
	}
	if flags == 0 {
		return &tcpip.ErrInvalidOptionValue{}
	}
	defer e.stack.attend()()
	err := e.ep.Shutdown(flags)
	if err == nil && how&2 != 0 {
		e.finSent.Store(true)
	}
	return err
}

// Retire shuts down an endpoint that its owner has closed, and closes its descriptors: programs may
// have hundreds of these while peers are slow to close.
func (e *Endpoint) Retire() tcpip.Error {
	e.closeSignals()
	return e.Shutdown(3)
}

// Abort sends a RST to a peer that is still there. Where both sides have ended in
// order there is nothing to abort, though gVisor would send one from TIME-WAIT too.
func (e *Endpoint) Abort() {
	if e.tcp && tcp.EndpointState(e.ep.State()) == tcp.StateTimeWait {
		return
	}
	e.ep.Abort()
}

// Close lets go of the endpoint; more than once is once.
func (e *Endpoint) Close() {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.closed = true
	bridge := e.bridge
	e.mu.Unlock()
	if bridge != nil {
		bridge.fail()
	}
	e.stack.pump.flushBurst()
	e.queue.EventUnregister(&e.entry)
	e.leaveTimeWait()
	e.ep.Close()
	e.closeSignals()
	e.freeLoans()
	if e.watched {
		e.stack.Link.Observer.Forget(e.key, !e.ended())
	} else {
		e.takeAll()
	}
	e.stack.release(e)
}

// ended reports whether no packet of the endpoint can leave any more.
func (e *Endpoint) ended() bool {
	if !e.tcp {
		return true
	}
	state := tcp.EndpointState(e.ep.State())
	return state == tcp.StateClose || state == tcp.StateError
}

// leaveTimeWait frees the port at once: the kernel, whose port it is, may give it to the
// next connection. gVisor would hold it to the end of TIME-WAIT, or until a reset is sent.
func (e *Endpoint) leaveTimeWait() {
	if ep, ok := e.ep.(*tcp.Endpoint); ok {
		gvisorinternals.ExpireTimeWait(ep)
	}
}
