package netstack

import (
	"crypto/sha256"
	"sync"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netkat/gostack/internal/gvisorinternals"
)

// segmentSizes are what gVisor's sender and its SACK scoreboard take for a full segment.
func segmentSizes(e *Endpoint) (sender int, scoreboard uint16) {
	ep := e.ep.(*tcp.Endpoint)
	ep.LockUser()
	defer ep.UnlockUser()
	s, _ := gvisorinternals.SenderOf(ep)
	return s.State().MaxPayloadSize, *s.ScoreboardSegment()
}

func TestGVisorsSegmentSizeIsPutBackAfterARetransmission(t *testing.T) {
	j := join(t, true, 0)
	client, server := j.pair()
	defer client.Close()
	defer server.Close()
	sendAll(t, client, []byte("first"))
	wanted, board := segmentSizes(client)
	if wanted < 1400 || int(board) != wanted {
		t.Fatalf("segments of %d and %d", wanted, board)
	}
	for _, mtu := range []uint32{1400, 1400, 552, 1400} {
		before := client.lowest
		client.retransmitTooLarge(mtu)
		if size, scoreboard := segmentSizes(client); size != wanted || scoreboard != board {
			t.Errorf("after %d: segments of %d and %d", mtu, size, scoreboard)
		}
		if before != 0 && client.lowest >= before {
			t.Errorf("after %d: gVisor ignores %d, it has had %d", mtu, client.lowest, before)
		}
	}
}

// Whoever sees a connection's packets can lower its path MTU again and again.
func TestRetransmissionsInATransferChangeNoBytes(t *testing.T) {
	for name, gso := range map[string]bool{"segments": false, "GSO packets": true} {
		t.Run(name, func(t *testing.T) {
			j := join(t, gso, 0)
			client, server := j.pair()
			data := random(8 << 20)
			var wg sync.WaitGroup
			wg.Go(func() {
				sendAll(t, client, data)
				client.Shutdown(2)
			})
			wg.Go(func() {
				for mtu := uint32(1400); mtu > 1300; mtu-- {
					client.retransmitTooLarge(mtu)
				}
			})
			if readAll(t, server) != sha256.Sum256(data) {
				t.Error("not what was sent")
			}
			wg.Wait()
			client.Close()
			server.Close()
		})
	}
}

func TestAClosedConnectionRetransmitsNothing(t *testing.T) {
	for name, end := range map[string]func(e *Endpoint){
		"closed": (*Endpoint).Close, "aborted": func(e *Endpoint) { e.ep.Abort() },
	} {
		t.Run(name, func(t *testing.T) {
			j := join(t, true, 0)
			client, server := j.pair()
			sendAll(t, client, random(1<<20)) // the peer does not read it
			client.retransmitTooLarge(1400)
			end(client)
			client.retransmitTooLarge(1300)
			client.Close()
			server.Close()
			client.retransmitTooLarge(1200)
		})
	}
}
