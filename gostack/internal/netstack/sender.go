package netstack

import (
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// gVisor lets a program choose among its own congestion controls, by name, and bring none. What
// its sender asks of one is public in all but the name of the interface, and so is
// the state that it works on; only the way there is not. It is looked for by name, and where one is
// not found, as a later gVisor may have it, the connection goes on with gVisor's own
// (TestSenderIsWhatWeTakeItFor fails then).

// senderFields is where an endpoint's sender has what a congestion control needs.
type senderFields struct {
	sender, state, control, rtt []int
	scoreboard, smss            []int
	known                       bool
}

var fields = findSender()

func findSender() (f senderFields) {
	in, ok := reflect.TypeFor[tcp.Endpoint]().FieldByName("snd")
	if !ok || in.Type.Kind() != reflect.Pointer || in.Type.Elem().Kind() != reflect.Struct {
		return f
	}
	sender := in.Type.Elem()
	state, hasState := sender.FieldByName("TCPSenderState")
	control, hasControl := sender.FieldByName("cc")
	rtt, hasRTT := sender.FieldByName("rtt")
	f.sender, f.state, f.control = in.Index, state.Index, control.Index
	if !hasState || !hasControl || !hasRTT || rtt.Type.Kind() != reflect.Struct {
		return f
	}
	board, hasBoard := reflect.TypeFor[tcp.Endpoint]().FieldByName("scoreboard")
	smss, hasSMSS := reflect.TypeFor[tcp.SACKScoreboard]().FieldByName("smss")
	f.scoreboard, f.smss = board.Index, smss.Index
	if !hasBoard || !hasSMSS || board.Type != reflect.TypeFor[*tcp.SACKScoreboard]() || smss.Type != reflect.TypeFor[uint16]() {
		return f
	}
	measured, hasMeasured := rtt.Type.FieldByName("TCPRTTState")
	f.rtt = append(append([]int(nil), rtt.Index...), measured.Index...)
	f.known = state.Type == reflect.TypeFor[tcp.TCPSenderState]() &&
		hasMeasured && measured.Type == reflect.TypeFor[tcp.TCPRTTState]() &&
		control.Type.Kind() == reflect.Interface &&
		reflect.TypeFor[*cubic]().Implements(control.Type)
	return f
}

// takeControl gives a connection's sender our congestion control, before the first bytes are
// sent: many a connection is only opened and closed.
func (e *Endpoint) takeControl() {
	if e.controlled.Load() {
		return
	}
	ep, ok := e.ep.(*tcp.Endpoint)
	if !ok || !fields.known {
		return
	}
	ep.LockUser()
	defer ep.UnlockUser()
	sender := reflect.ValueOf(ep).Elem().FieldByIndex(fields.sender)
	if sender.IsNil() || e.controlled.Swap(true) {
		return
	}
	state := (*tcp.TCPSenderState)(addressOfField(sender, fields.state))
	control := sender.Elem().FieldByIndex(fields.control)
	reflect.NewAt(control.Type(), addressOfField(sender, fields.control)).Elem().Set(reflect.ValueOf(&cubic{sender: state}))
	if e.seen().SynsSent > 1 {
		forgetHandshake((*tcp.TCPRTTState)(addressOfField(sender, fields.rtt)))
	}
}

// forgetHandshake has the first segment measure the round trip. gVisor sends a SYN that was lost
// again with the timestamp of the first, so that the second's answer tells of a second: the timer
// would wait for three, and for little less over thousands of segments.
func forgetHandshake(measured *tcp.TCPRTTState) { *measured = tcp.TCPRTTState{} }

// assumeLost has nothing in flight any more. The function it returns puts back the segment size,
// which gVisor has lowered meanwhile.
func (e *Endpoint) assumeLost(ep *tcp.Endpoint) (restore func()) {
	if !fields.known {
		return func() {}
	}
	ep.LockUser()
	defer ep.UnlockUser()
	endpoint := reflect.ValueOf(ep).Elem()
	sender, board := endpoint.FieldByIndex(fields.sender), endpoint.FieldByIndex(fields.scoreboard)
	if sender.IsNil() || board.IsNil() {
		return func() {}
	}
	state := (*tcp.TCPSenderState)(addressOfField(sender, fields.state))
	smss := (*uint16)(addressOfField(board, fields.smss))
	payload, sacked := state.MaxPayloadSize, *smss
	state.Outstanding = 0
	return func() {
		ep.LockUser()
		defer ep.UnlockUser()
		state.MaxPayloadSize, *smss = payload, sacked
	}
}

func addressOfField(pointer reflect.Value, index []int) unsafe.Pointer {
	return unsafe.Pointer(pointer.Elem().FieldByIndex(index).UnsafeAddr())
}
