package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// ReadableFD is level-triggered: readable while Recv or Accept would not wait.
func (e *Endpoint) ReadableFD() (int, error) {
	return e.readable.descriptor(e.canRead)
}

// WritableFD is level-triggered: readable while Send, or a decided connect, would not wait.
func (e *Endpoint) WritableFD() (int, error) {
	return e.writable.descriptor(e.canWrite)
}

// ReadinessFD polls readable while Recv or Accept would not wait, and writable while Send,
// or a decided connect, would not.
func (e *Endpoint) ReadinessFD() (int, error) {
	fd, fresh, err := e.both.descriptor()
	if fresh {
		e.readable.showBy(e.both.showReadable, e.canRead)
		e.writable.showBy(e.both.showWritable, e.canWrite)
	}
	return fd, err
}

// closeSignals wakes whoever polls, to find the endpoint closed.
func (e *Endpoint) closeSignals() {
	e.readable.close()
	e.writable.close()
	e.both.close()
}

func (e *Endpoint) canRead() bool {
	return e.ep.Readiness(readEvents)&readEvents != 0 || e.hasError()
}

func (e *Endpoint) canWrite() bool {
	if e.hasError() {
		return true
	}
	if !e.tcp && (e.hop.pending() || e.stack.Link.Crowded()) {
		return false
	}
	return e.ep.Readiness(writeEvents)&writeEvents != 0
}

// hasError reports an error that gVisor's own readiness does not know of.
func (e *Endpoint) hasError() bool {
	if e.tcp {
		if tcp.EndpointState(e.ep.State()) != tcp.StateSynSent {
			return false
		}
		seen := e.seen()
		return seen.ICMPErrors > 0 || seen.Unanswered > 0
	}
	return e.hop.failed() || e.icmpArrived.Load() != e.icmpReported.Load()
}
