package netstack

import (
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

func TestWhatIsQueuedIsSentAndCounted(t *testing.T) {
	j := join(t, true, 0)
	client, server := j.pair()
	ep := client.ep.(*tcp.Endpoint)
	before, err := roomIn(ep)
	if err != nil {
		t.Fatal(err)
	}
	want := random(3 * piece)
	for part := range 3 {
		if err := queueToSend(ep, client.stack.clock, buffer.MakeWithData(want[part*piece:][:piece])); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	for b := make([]byte, 1<<20); len(got) < len(want); {
		got = append(got, receive(t, server, b)...)
	}
	if string(got) != string(want) {
		t.Fatal("not what was queued")
	}
	eventually(t, func() bool { room, _ := roomIn(ep); return room >= before })
}

func TestAQueueIsFullAtItsLimitAndClosedAfterAReset(t *testing.T) {
	j := join(t, true, 0)
	client, server := j.pair()
	ep := client.ep.(*tcp.Endpoint)
	full := false
	for range 1000 {
		if _, err := roomIn(ep); wouldBlock(err) {
			full = true
			break
		}
		if err := queueToSend(ep, client.stack.clock, buffer.MakeWithData(make([]byte, piece))); err != nil {
			t.Fatal(err)
		}
	}
	if !full {
		t.Fatal("it takes what nobody reads for ever")
	}
	server.Abort()
	eventually(t, func() bool {
		err := queueToSend(ep, client.stack.clock, buffer.MakeWithData([]byte("late")))
		return err != nil && !wouldBlock(err)
	})
}
