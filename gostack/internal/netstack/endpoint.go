package netstack

import (
	"io"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"netkat/gostack/internal/link"
)

// Endpoint is one TCP connection, TCP listener or UDP endpoint. Nothing on it waits.
type Endpoint struct {
	stack    *Stack
	ep       tcpip.Endpoint
	queue    *waiter.Queue
	entry    waiter.Entry
	tcp      bool
	listener bool
	key      link.FlowKey
	watched  bool

	readable, writable signal
	written            atomic.Uint64
	finSent            atomic.Bool
	icmpReported       atomic.Uint32

	mu     sync.Mutex
	open   bool        // TCP: the handshake is over
	failed tcpip.Error // TCP: why it is not; sticky
	closed bool
}

const readEvents = waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr | waiter.EventRdHUp
const writeEvents = waiter.WritableEvents | waiter.EventHUp | waiter.EventErr

// Connect begins a TCP connection, or opens a connected UDP endpoint.
func (s *Stack) Connect(protocol uint8, local, remote netip.AddrPort) (*Endpoint, tcpip.Error) {
	e, err := s.open(protocol, local)
	if err != nil {
		return nil, err
	}
	e.watch(remote)
	err = e.ep.Connect(full(remote))
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		err = nil
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Bind opens a UDP endpoint without a peer.
func (s *Stack) Bind(local netip.AddrPort) (*Endpoint, tcpip.Error) {
	return s.open(uint8(header.UDPProtocolNumber), local)
}

// Listen opens a TCP listener.
func (s *Stack) Listen(local netip.AddrPort, backlog int) (*Endpoint, tcpip.Error) {
	e, err := s.open(uint8(header.TCPProtocolNumber), local)
	if err != nil {
		return nil, err
	}
	e.listener = true
	if err := e.ep.Listen(backlog); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Accept takes a connection from the listener's queue.
func (e *Endpoint) Accept() (*Endpoint, netip.AddrPort, tcpip.Error) {
	var peer tcpip.FullAddress
	ep, wq, err := e.ep.Accept(&peer)
	if err != nil {
		if wouldBlock(err) {
			e.readable.settle(e.canRead)
		}
		return nil, netip.AddrPort{}, err
	}
	e.readable.settle(e.canRead)
	conn := e.stack.wrap(ep, wq, true)
	conn.open = true
	local, lerr := ep.GetLocalAddress()
	if lerr == nil {
		conn.key = flowKey(uint8(header.TCPProtocolNumber), addrPort(local), addrPort(peer))
	}
	conn.watch(addrPort(peer))
	return conn, addrPort(peer), nil
}

func (s *Stack) open(protocol uint8, local netip.AddrPort) (*Endpoint, tcpip.Error) {
	transport := tcp.ProtocolNumber
	if protocol == uint8(header.UDPProtocolNumber) {
		transport = udp.ProtocolNumber
	}
	wq := &waiter.Queue{}
	ep, err := s.stack.NewEndpoint(transport, protocolOf(local.Addr()), wq)
	if err != nil {
		return nil, err
	}
	e := s.wrap(ep, wq, transport == tcp.ProtocolNumber)
	e.key = flowKey(protocol, local, netip.AddrPort{})
	if !e.tcp {
		// RFC 8085: a sender that knows no better may fragment; PMTU discovery by
		// dropping would turn a large datagram into an error nobody asked for.
		_ = ep.SetSockOptInt(tcpip.MTUDiscoverOption, int(tcpip.PMTUDiscoveryDont))
	}
	if err := ep.Bind(full(local)); err != nil {
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
	e.stack.Link.Observer.Watch(e.key, func() {
		e.readable.raise()
		e.writable.raise()
	})
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
		return nil
	case tcp.StateError, tcp.StateClose:
		if err := e.ep.LastError(); err != nil {
			e.failed = err
		} else {
			e.failed = &tcpip.ErrConnectionAborted{}
		}
		return e.failed
	}
	// gVisor ends a connect for some ICMP errors only; the kernel does for each of
	// them (net/ipv4/tcp_ipv4.c, tcp_v4_err in SYN_SENT), and so does this.
	if e.watched && e.stack.Link.Observer.See(e.key).ICMPErrors > 0 {
		e.failed = &tcpip.ErrHostUnreachable{}
		return e.failed
	}
	e.writable.settle(e.canWrite)
	return &tcpip.ErrConnectStarted{}
}

// Recv reads into b; 0 without error is the end of a stream.
func (e *Endpoint) Recv(b []byte) (n, total int, from netip.AddrPort, err tcpip.Error) {
	if err := e.icmpVerdict(); err != nil {
		return 0, 0, from, err
	}
	w := tcpip.SliceWriter(b)
	res, err := e.ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: !e.tcp})
	switch {
	case err == nil:
		e.readable.settle(e.canRead)
		if e.tcp {
			e.ep.ModerateRecvBuf(res.Count)
		} else {
			from = addrPort(res.RemoteAddr)
		}
		return res.Count, res.Total, from, nil
	case wouldBlock(err):
		e.readable.settle(e.canRead)
		return 0, 0, from, err
	}
	if _, eof := err.(*tcpip.ErrClosedForReceive); eof {
		return 0, 0, from, nil
	}
	return 0, 0, from, err
}

// icmpVerdict tells a UDP endpoint of the ICMP errors that gVisor keeps to itself,
// each once. Port unreachable reaches it through gVisor.
func (e *Endpoint) icmpVerdict() tcpip.Error {
	if e.tcp || !e.watched {
		return nil
	}
	seen := e.stack.Link.Observer.See(e.key)
	if seen.ICMPErrors == e.icmpReported.Swap(seen.ICMPErrors) {
		return nil
	}
	portUnreachable := seen.ICMPVersion == 4 && seen.ICMPType == 3 && seen.ICMPCode == 3 ||
		seen.ICMPVersion == 6 && seen.ICMPType == 1 && seen.ICMPCode == 4
	_ = e.ep.LastError()
	if portUnreachable {
		return &tcpip.ErrConnectionRefused{}
	}
	return &tcpip.ErrHostUnreachable{}
}

// Send writes b; TCP may take fewer. An invalid address means the peer.
func (e *Endpoint) Send(b []byte, to netip.AddrPort) (int, tcpip.Error) {
	if err := e.icmpVerdict(); err != nil {
		return 0, err
	}
	options := tcpip.WriteOptions{}
	if to.IsValid() {
		address := full(to)
		options.To = &address
	}
	r := payload{b}
	n, err := e.ep.Write(&r, options)
	if n > 0 {
		e.written.Add(uint64(n))
	}
	if wouldBlock(err) || (e.tcp && int(n) < len(b)) {
		e.writable.settle(e.canWrite)
	}
	return int(n), err
}

// Shutdown ends the read side (1), the write side (2), or both (3).
func (e *Endpoint) Shutdown(how uint32) tcpip.Error {
	var flags tcpip.ShutdownFlags
	if how&1 != 0 {
		flags |= tcpip.ShutdownRead
	}
	if how&2 != 0 {
		flags |= tcpip.ShutdownWrite
		e.finSent.Store(true)
	}
	return e.ep.Shutdown(flags)
}

// Abort sends a RST to a peer that is still there.
func (e *Endpoint) Abort() { e.ep.Abort() }

// Close lets go of the endpoint; more than once is once.
func (e *Endpoint) Close() {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.closed = true
	e.mu.Unlock()
	e.queue.EventUnregister(&e.entry)
	e.ep.Close()
	e.readable.close()
	e.writable.close()
	if e.watched {
		e.stack.Link.Observer.Forget(e.key)
	}
	e.stack.release(e)
}

// ReadableFD is level-triggered: readable while Recv or Accept would not wait.
func (e *Endpoint) ReadableFD() (int, error) { return e.readable.descriptor(e.canRead) }

// WritableFD is level-triggered: readable while Send, or a decided connect, would not wait.
func (e *Endpoint) WritableFD() (int, error) { return e.writable.descriptor(e.canWrite) }

func (e *Endpoint) canRead() bool  { return e.ep.Readiness(readEvents)&readEvents != 0 }
func (e *Endpoint) canWrite() bool { return e.ep.Readiness(writeEvents)&writeEvents != 0 }

func wouldBlock(err tcpip.Error) bool {
	_, ok := err.(*tcpip.ErrWouldBlock)
	return ok
}

// payload is a tcpip.Payloader over the caller's memory: one copy, into gVisor's own view.
type payload struct{ b []byte }

func (p *payload) Read(out []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(out, p.b)
	p.b = p.b[n:]
	return n, nil
}

func (p *payload) Len() int { return len(p.b) }
