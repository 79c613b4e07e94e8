package netstack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netkat/gostack/internal/gvisorinternals"
)

// Why: gVisor's Endpoint.Write copies into memory that it has cleared before. Bytes that were read from a
// file, or copied into memory that is used again, are queued here as they are.
//
// A new gVisor breaks this if Write does more than queueToSend does, such as another counter or check:
// compare tcp/endpoint.go, Write and queueSegment. Its signatures and fields are checked by the tests of
// gvisorinternals. Where the fields are not known, Write is used.

// roomIn is how many bytes an endpoint takes at this moment.
func roomIn(e *tcp.Endpoint) (int, tcpip.Error) {
	e.LockUser()
	defer e.UnlockUser()
	return gvisorinternals.Writable(e)
}

// queueToSend gives an endpoint bytes to send, and sends what its windows allow. They must not
// be changed any more. The buffer is the endpoint's, also where it is refused. It is taken also
// where another thread has just filled the queue: the bytes would be lost.
func queueToSend(e *tcp.Endpoint, clock tcpip.Clock, b buffer.Buffer) tcpip.Error {
	if !gvisorinternals.CanQueue() {
		return writeAll(e, b)
	}
	e.LockUser()
	defer e.UnlockUser()
	if _, err := gvisorinternals.Writable(e); err != nil && !wouldBlock(err) {
		b.Release()
		return err
	}
	gvisorinternals.Queue(e, clock, b)
	return nil
}

// writeAll is queueToSend by gVisor's public calls. It is asked for no more than roomIn has said.
func writeAll(e *tcp.Endpoint, b buffer.Buffer) tcpip.Error {
	defer b.Release()
	n, err := e.Write(&payload{b.Flatten()}, tcpip.WriteOptions{Atomic: true})
	if err == nil && n < b.Size() {
		return &tcpip.ErrNoBufferSpace{}
	}
	return err
}
