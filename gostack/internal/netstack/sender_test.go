package netstack

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netkat/gostack/internal/gvisorinternals"
)

func TestSenderHasNetkatsCongestionControl(t *testing.T) {
	j := join(t, false, 0)
	client, server := j.pair()
	defer client.Close()
	defer server.Close()
	for _, e := range []*Endpoint{client, server} {
		sendAll(t, e, []byte("first words"))
	}
	for name, e := range map[string]*Endpoint{"connected": client, "accepted": server} {
		c, ok := controlOf(e).(*cubic)
		if !ok {
			t.Fatalf("%s: the congestion control is %T", name, controlOf(e))
		}
		// One window by both ways: it is the sender's own state that is worked on.
		e.ep.(*tcp.Endpoint).LockUser()
		c.sender.SndCwnd = 77
		e.ep.(*tcp.Endpoint).UnlockUser()
		var told tcpip.TCPInfoOption
		if err := e.ep.GetSockOpt(&told); err != nil || told.SndCwnd != 77 {
			t.Fatalf("%s: a window of %d (%v)", name, told.SndCwnd, err)
		}
	}
}

func controlOf(e *Endpoint) any {
	ep := e.ep.(*tcp.Endpoint)
	ep.LockUser()
	defer ep.UnlockUser()
	sender, ok := gvisorinternals.SenderOf(ep)
	if !ok {
		return nil
	}
	return sender.Control()
}
