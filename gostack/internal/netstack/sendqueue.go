package netstack

import (
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// What gVisor's Endpoint.Write does, with a buffer that holds the bytes already. Write takes a
// Payloader, from which it copies into memory of its own, cleared before; and one that ends
// before the length that it gave is asked for ever (buffer.go, WriteFromReaderAndLimitedReader).

// writeListAt is where a sender keeps what is to be sent and acknowledged.
var writeListAt = func() (at struct{ sender, list uintptr }) {
	sender, ok := reflect.TypeOf(tcp.Endpoint{}).FieldByName("snd")
	if !ok {
		panic("gVisor's tcp.Endpoint has no snd")
	}
	list, ok := sender.Type.Elem().FieldByName("writeList")
	if !ok {
		panic("gVisor's sender has no writeList")
	}
	at.sender, at.list = sender.Offset, list.Offset
	return at
}()

// roomIn is how many bytes an endpoint takes at this moment.
func roomIn(e *tcp.Endpoint) (int, tcpip.Error) {
	e.LockUser()
	defer e.UnlockUser()
	return isEndpointWritableLocked(e)
}

// queueToSend gives an endpoint bytes to send, and sends what its windows allow. They must not
// be changed any more. The buffer is the endpoint's, also where it is refused. It is taken also
// where another thread has just filled the queue: the bytes would be lost.
func queueToSend(e *tcp.Endpoint, clock tcpip.Clock, b buffer.Buffer) tcpip.Error {
	e.LockUser()
	defer e.UnlockUser()
	if _, err := isEndpointWritableLocked(e); err != nil && !wouldBlock(err) {
		b.Release()
		return err
	}
	size := int(b.Size())
	segment := newOutgoingSegment(e.ID, clock, b, 0)
	sender := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(e), writeListAt.sender))
	pushBack(unsafe.Add(sender, writeListAt.list), segment)
	updateSndBufferUsage(e, -size)
	sendData(e, segment)
	return nil
}

// isEndpointWritableLocked asks for the queue's own lock as well; what it reads is changed with
// the endpoint's held only.
//
//go:linkname isEndpointWritableLocked gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).isEndpointWritableLocked
func isEndpointWritableLocked(e *tcp.Endpoint) (int, tcpip.Error)

//go:linkname newOutgoingSegment gvisor.dev/gvisor/pkg/tcpip/transport/tcp.newOutgoingSegment
func newOutgoingSegment(id stack.TransportEndpointID, clock tcpip.Clock, b buffer.Buffer, mark uint32) unsafe.Pointer

//go:linkname pushBack gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*protectedWriteList).PushBack
func pushBack(list, segment unsafe.Pointer)

//go:linkname updateSndBufferUsage gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).updateSndBufferUsage
func updateSndBufferUsage(e *tcp.Endpoint, acknowledged int)

//go:linkname sendData gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).sendData
func sendData(e *tcp.Endpoint, next unsafe.Pointer)
