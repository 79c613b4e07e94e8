package netstack

import (
	"io"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Recv reads into b; 0 without error is the end of a stream. total is a datagram's whole length.
func (e *Endpoint) Recv(b []byte) (n, total int, from netip.AddrPort, err tcpip.Error) {
	if e.tcp {
		e.reading.Lock()
		defer e.reading.Unlock()
	}
	return e.recv(b)
}

func (e *Endpoint) recv(b []byte) (n, total int, from netip.AddrPort, err tcpip.Error) {
	if err := e.pendingError(); err != nil {
		e.readable.settle(e.canRead)
		return 0, 0, from, err
	}
	if len(b) == 0 {
		return e.recvNothing()
	}
	w := tcpip.SliceWriter(b)
	if e.tcp {
		// A read may open the window: the update should not wait for a timer.
		defer e.stack.attend()()
	}
	res, err := e.ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: !e.tcp})
	e.readable.settle(e.canRead)
	if err == nil {
		if e.tcp {
			e.ep.ModerateRecvBuf(res.Count)
		} else {
			from = addrPort(res.RemoteAddr)
		}
		return res.Count, res.Total, from, nil
	}
	switch {
	case !e.tcp:
		e.stack.pump.flushBurst() // a program that reads waits for answers
	case !wouldBlock(err):
		err = e.lasting(err)
	}
	if _, eof := err.(*tcpip.ErrClosedForReceive); eof {
		return 0, 0, from, nil
	}
	return 0, 0, from, err
}

// recvNothing is Recv into no bytes at all, which gVisor takes for a fault. A datagram is
// gone after it, as with a socket; a stream stays as it is.
func (e *Endpoint) recvNothing() (n, total int, from netip.AddrPort, err tcpip.Error) {
	if e.tcp {
		return 0, 0, from, nil
	}
	var spare [1]byte
	_, total, from, err = e.Recv(spare[:])
	return 0, total, from, err
}

// lasting makes the reason of a failed connection stay: gVisor tells it once, as a
// socket does, and then speaks of a connection that is not there. Two threads may ask.
func (e *Endpoint) lasting(err tcpip.Error) tcpip.Error {
	if tcp.EndpointState(e.ep.State()) != tcp.StateError {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return e.failed
	}
	switch err.(type) {
	case *tcpip.ErrClosedForReceive, *tcpip.ErrClosedForSend, *tcpip.ErrNotConnected, *tcpip.ErrInvalidEndpointState:
		why := e.ep.LastError()
		if why == nil {
			return err
		}
		err = why
	}
	e.failed = err
	return err
}

// Send writes b; TCP may take fewer. An invalid address means the peer.
func (e *Endpoint) Send(b []byte, to netip.AddrPort) (int, tcpip.Error) {
	if err := e.pendingError(); err != nil {
		return 0, err
	}
	options := tcpip.WriteOptions{}
	if to.IsValid() {
		address := full(to)
		options.To = &address
	}
	if !e.tcp {
		if err := e.mayFollow(len(b), to); err != nil {
			return 0, err
		}
	}
	if !e.tcp {
		n, err := e.sendDatagram(b, options)
		return int(n), err
	}
	e.takeControl()
	defer e.stack.attend()()
	n, err := e.ep.Write(&payload{b}, options)
	e.written.Add(uint64(n))
	if wouldBlock(err) || int(n) < len(b) {
		e.writable.settle(e.canWrite)
	}
	if err != nil && !wouldBlock(err) {
		err = e.lasting(err)
	}
	return int(n), err
}

func (e *Endpoint) sendDatagram(b []byte, options tcpip.WriteOptions) (n int64, err tcpip.Error) {
	e.stack.pump.sendDatagram(func() { n, err = e.ep.Write(&payload{b}, options) })
	if wouldBlock(err) {
		e.writable.settle(e.canWrite)
	}
	return n, err
}

// DatagramFailure is the packet socket's error, after which no datagram has left. A stream waits
// for the peer anyway, and its waits report the error.
func (e *Endpoint) DatagramFailure() error {
	if e.tcp {
		return nil
	}
	return e.stack.wire.Failure()
}

// mayFollow holds a datagram back, by ErrWouldBlock, while it would be lost on this side.
func (e *Endpoint) mayFollow(size int, to netip.AddrPort) tcpip.Error {
	key := e.key
	if to.IsValid() {
		key = flowKey(e.key.Protocol, keyLocal(e.key), to)
	} else if !e.watched {
		return &tcpip.ErrDestinationRequired{}
	}
	if e.stack.Link.Crowded() {
		e.writable.settle(e.canWrite)
		return &tcpip.ErrWouldBlock{}
	}
	err := e.hop.admit(e, key, size)
	if wouldBlock(err) {
		e.writable.settle(e.canWrite)
	}
	return err
}

// pendingError is what a UDP endpoint has to tell before it goes on: an ICMP error
// about a datagram of its own, or a next hop that did not answer, each once.
func (e *Endpoint) pendingError() tcpip.Error {
	if e.tcp {
		return nil
	}
	if e.hop.takeFailure() {
		return &NextHopSilent{}
	}
	arrived := e.icmpArrived.Load()
	if arrived == e.icmpReported.Load() || arrived == e.icmpReported.Swap(arrived) {
		return nil
	}
	seen := e.seen()
	portUnreachable := seen.ICMPVersion == 4 && seen.ICMPType == 3 && seen.ICMPCode == 3 ||
		seen.ICMPVersion == 6 && seen.ICMPType == 1 && seen.ICMPCode == 4
	if portUnreachable {
		return &tcpip.ErrConnectionRefused{}
	}
	return &tcpip.ErrHostUnreachable{}
}

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
