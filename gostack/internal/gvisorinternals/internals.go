// Package gvisorinternals is the only code that uses what gVisor does not export: functions by
// go:linkname, a mirrored struct, and fields by name. Nothing else in the library may.
//
// A function that a new gVisor lacks fails the link. A changed signature, layout or field fails
// TestSignatures, TestViewLayout or TestFields, which compare this file with the source of gVisor that
// go.mod names. At run time a changed layout or field turns off what depends on it (CanQueue,
// ViewOver, SenderOf), and nothing panics at import.
//
// What each is for, and what there would be without it (measured over a veth on two processors, five
// interleaved runs, median):
//
//   - handleConnecting, handleConnected, handleListen: TCP is processed by the thread that receives. By
//     gVisor's processor goroutines ping-pong takes 2.4 times as long, sending a file runs at a twentieth.
//   - isEndpointWritableLocked, newOutgoingSegment, protectedWriteList.PushBack, updateSndBufferUsage,
//     sendData, fields snd and writeList: a buffer is queued without a copy. By Endpoint.Write
//     sending at length runs at 0.7 of the rate.
//   - timeWaitTimerExpired: an endpoint leaves TIME-WAIT without a RST, when the kernel has given its port to
//     another connection. gVisor would hold the port for as long as TIME-WAIT lasts.
//   - View.sharesChunk: whether pinned memory may be received into again. Otherwise 64 KiB are
//     allocated and cleared for each large frame.
//   - View, chunk: a View over memory in huge pages. Otherwise sending at length runs at 0.85 of the rate.
//   - fields snd.cc, snd.TCPSenderState: CUBIC by RFC 9438 with HyStart++ (congestion.go says why).
//   - field snd.rtt: the round trip of a SYN that was lost is forgotten.
//   - fields scoreboard, scoreboard.smss: the segment size after a change of the path MTU.
package gvisorinternals

import (
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Process does the TCP work for the segments that wait for an endpoint, as the processor goroutine does
// (tcp/dispatcher.go, processor.start). It takes the endpoint's lock, or leaves the work to who holds it.
func Process(e *tcp.Endpoint) {
	switch e.EndpointState() {
	case tcp.StateSynSent, tcp.StateSynRecv, tcp.StateConnecting:
		handleConnecting(e)
	case tcp.StateEstablished, tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateClosing,
		tcp.StateCloseWait, tcp.StateLastAck:
		handleConnected(e)
	case tcp.StateListen:
		handleListen(e)
	}
}

//go:linkname handleConnecting gvisor.dev/gvisor/pkg/tcpip/transport/tcp.handleConnecting
func handleConnecting(e *tcp.Endpoint)

//go:linkname handleConnected gvisor.dev/gvisor/pkg/tcpip/transport/tcp.handleConnected
func handleConnected(e *tcp.Endpoint)

//go:linkname handleListen gvisor.dev/gvisor/pkg/tcpip/transport/tcp.handleListen
func handleListen(e *tcp.Endpoint)

// ExpireTimeWait ends TIME-WAIT now. It does nothing in another state.
func ExpireTimeWait(e *tcp.Endpoint) { timeWaitTimerExpired(e) }

//go:linkname timeWaitTimerExpired gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).timeWaitTimerExpired
func timeWaitTimerExpired(e *tcp.Endpoint)

// Writable is how many bytes an endpoint takes now; its lock is held. gVisor asks for the queue's own
// lock as well, but what it reads is changed with the endpoint's held only.
func Writable(e *tcp.Endpoint) (int, tcpip.Error) { return isEndpointWritableLocked(e) }

//go:linkname isEndpointWritableLocked gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).isEndpointWritableLocked
func isEndpointWritableLocked(e *tcp.Endpoint) (int, tcpip.Error)

// Queue appends a buffer to what an open endpoint sends, and sends what its windows allow. The
// endpoint's lock is held, and CanQueue is true.
func Queue(e *tcp.Endpoint, clock tcpip.Clock, b buffer.Buffer) {
	size := int(b.Size())
	segment := newOutgoingSegment(e.ID, clock, b, 0)
	sender := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(e), fields.sender.Offset))
	pushBack(unsafe.Add(sender, fields.writeList.Offset), segment)
	updateSndBufferUsage(e, -size)
	sendData(e, segment)
}

//go:linkname newOutgoingSegment gvisor.dev/gvisor/pkg/tcpip/transport/tcp.newOutgoingSegment
func newOutgoingSegment(id stack.TransportEndpointID, clock tcpip.Clock, b buffer.Buffer, mark uint32) unsafe.Pointer

//go:linkname pushBack gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*protectedWriteList).PushBack
func pushBack(list, segment unsafe.Pointer)

//go:linkname updateSndBufferUsage gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).updateSndBufferUsage
func updateSndBufferUsage(e *tcp.Endpoint, acknowledged int)

//go:linkname sendData gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*Endpoint).sendData
func sendData(e *tcp.Endpoint, next unsafe.Pointer)

// SharesChunk says whether others have views of the same memory. They cannot make one of memory that
// only the caller has.
func SharesChunk(v *buffer.View) bool { return sharesChunk(v) }

//go:linkname sharesChunk gvisor.dev/gvisor/pkg/buffer.(*View).sharesChunk
func sharesChunk(v *buffer.View) bool

// viewLayout and chunkLayout are buffer.View and its chunk.
type viewLayout struct {
	next, prev  *buffer.View
	read, write int
	chunk       *chunkLayout
}

type chunkLayout struct {
	refs int64
	data []byte
}

// ViewOver makes a View over all of memory; nil where it cannot. There must be more of it than
// gVisor keeps in its pools (buffer.MaxChunkSize), or it would keep it when the last view is released.
func ViewOver(memory []byte) *buffer.View {
	if len(memory) <= buffer.MaxChunkSize || !viewIsKnown {
		return nil
	}
	v := &buffer.View{}
	layout := (*viewLayout)(unsafe.Pointer(v))
	layout.write = len(memory)
	layout.chunk = &chunkLayout{refs: 1, data: memory}
	return v
}

var viewIsKnown = unsafe.Sizeof(buffer.View{}) == unsafe.Sizeof(viewLayout{}) && hasChunk()

func hasChunk() bool {
	chunk, ok := reflect.TypeFor[buffer.View]().FieldByName("chunk")
	return ok && chunk.Offset == unsafe.Offsetof(viewLayout{}.chunk) && chunk.Type.Kind() == reflect.Pointer &&
		chunk.Type.Elem().Size() == unsafe.Sizeof(chunkLayout{})
}

// fields are those of an endpoint and its sender, by name.
var fields = findFields()

type fieldSet struct {
	sender, writeList, state, control, rtt, measured, scoreboard, smss reflect.StructField

	known bool
}

// CanQueue says whether Queue works with this gVisor.
func CanQueue() bool { return fields.known }

func findFields() (f fieldSet) {
	find := func(in reflect.Type, name string, kind reflect.Kind) (found reflect.StructField) {
		for in != nil && in.Kind() == reflect.Pointer {
			in = in.Elem()
		}
		if in != nil && in.Kind() == reflect.Struct {
			found, _ = in.FieldByName(name)
		}
		if found.Type == nil || found.Type.Kind() != kind || len(found.Index) != 1 {
			f.known = false
			return reflect.StructField{}
		}
		return found
	}
	f.known = true
	endpoint := reflect.TypeFor[tcp.Endpoint]()
	f.sender = find(endpoint, "snd", reflect.Pointer)
	f.writeList = find(f.sender.Type, "writeList", reflect.Struct)
	f.state = find(f.sender.Type, "TCPSenderState", reflect.Struct)
	f.control = find(f.sender.Type, "cc", reflect.Interface)
	f.rtt = find(f.sender.Type, "rtt", reflect.Struct)
	f.measured = find(f.rtt.Type, "TCPRTTState", reflect.Struct)
	f.scoreboard = find(endpoint, "scoreboard", reflect.Pointer)
	f.smss = find(f.scoreboard.Type, "smss", reflect.Uint16)
	f.known = f.known && f.state.Type == reflect.TypeFor[tcp.TCPSenderState]() &&
		f.measured.Type == reflect.TypeFor[tcp.TCPRTTState]()
	return f
}

// Sender is the sending half of an open endpoint. The endpoint's lock is held while it is used.
type Sender struct{ endpoint, at unsafe.Pointer }

// SenderOf is false where there is none yet, or a new gVisor has other fields.
func SenderOf(e *tcp.Endpoint) (Sender, bool) {
	if !fields.known {
		return Sender{}, false
	}
	s := Sender{endpoint: unsafe.Pointer(e)}
	s.at = *(*unsafe.Pointer)(unsafe.Add(s.endpoint, fields.sender.Offset))
	return s, s.at != nil
}

// State is the sender's own.
func (s Sender) State() *tcp.TCPSenderState {
	return (*tcp.TCPSenderState)(unsafe.Add(s.at, fields.state.Offset))
}

// RoundTrip is what the sender has measured.
func (s Sender) RoundTrip() *tcp.TCPRTTState {
	return (*tcp.TCPRTTState)(unsafe.Add(s.at, fields.rtt.Offset+fields.measured.Offset))
}

// Control is the sender's congestion control.
func (s Sender) Control() any { return s.control().Interface() }

// SetControl puts another in its place; false where it lacks a method.
func (s Sender) SetControl(control any) bool {
	if !reflect.TypeOf(control).Implements(fields.control.Type) {
		return false
	}
	s.control().Set(reflect.ValueOf(control))
	return true
}

func (s Sender) control() reflect.Value {
	return reflect.NewAt(fields.control.Type, unsafe.Add(s.at, fields.control.Offset)).Elem()
}

// ScoreboardSegment is the segment size that the SACK scoreboard counts with; nil without one.
func (s Sender) ScoreboardSegment() *uint16 {
	board := *(*unsafe.Pointer)(unsafe.Add(s.endpoint, fields.scoreboard.Offset))
	if board == nil {
		return nil
	}
	return (*uint16)(unsafe.Add(board, fields.smss.Offset))
}
