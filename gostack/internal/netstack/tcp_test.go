package netstack

import (
	"bytes"
	"crypto/sha256"
	"math/rand"
	"net/netip"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func readAll(t *testing.T, e *Endpoint) [32]byte {
	hash, b := sha256.New(), make([]byte, 1<<18)
	for got := receive(t, e, b); got != nil; got = receive(t, e, b) {
		hash.Write(got)
	}
	return [32]byte(hash.Sum(nil))
}

func TestTransferBothWays(t *testing.T) {
	for _, c := range []struct {
		name string
		gso  bool
		loss float64
		size int
	}{
		{"segments", false, 0, 8 << 20},
		{"super-frames", true, 0, 32 << 20},
		{"loss", false, 0.02, 400_000},
		{"loss of super-frames", true, 0.02, 2 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := join(t, c.gso, c.loss)
			client, server := j.pair()
			data := random(c.size)
			want := sha256.Sum256(data)
			var wg sync.WaitGroup
			for _, e := range []*Endpoint{client, server} {
				wg.Go(func() {
					sendAll(t, e, data)
					e.Shutdown(2)
				})
				wg.Go(func() {
					if readAll(t, e) != want {
						t.Error("not what was sent")
					}
				})
			}
			wg.Wait()
			eventually(t, func() bool { return client.Info().FinAcked && server.Info().FinAcked })
			if info := client.Info(); info.Unacked != 0 || !info.FinReceived {
				t.Errorf("%+v", info)
			}
		})
	}
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came true")
		}
	}
}

func TestHalfClose(t *testing.T) {
	j := join(t, true, 0)
	client, server := j.pair()
	sendAll(t, client, []byte("question"))
	client.Shutdown(2)
	b := make([]byte, 100)
	if got := receive(t, server, b); string(got) != "question" {
		t.Fatalf("%q", got)
	}
	if receive(t, server, b) != nil {
		t.Fatal("no end of stream")
	}
	sendAll(t, server, []byte("answer"))
	if got := receive(t, client, b); string(got) != "answer" {
		t.Fatalf("%q", got)
	}
	if _, err := client.Send([]byte("x"), netip.AddrPort{}); err == nil {
		t.Fatal("the write side was shut")
	}
}

func TestZeroWindow(t *testing.T) {
	j := join(t, true, 0)
	client, server := j.pair()
	data := random(32 << 20)
	var wg sync.WaitGroup
	wg.Go(func() { sendAll(t, client, data) })
	last := uint32(0)
	eventually(t, func() bool {
		before := last
		time.Sleep(200 * time.Millisecond)
		last = server.Info().Unread
		return last == before && last > 0
	})
	if last > 2*tcpBufferMax {
		t.Errorf("%d bytes wait for a reader that does not read", last)
	}
	got := make([]byte, 0, len(data))
	b := make([]byte, 1<<20)
	for len(got) < len(data) {
		got = append(got, receive(t, server, b)...)
	}
	wg.Wait()
	if !bytes.Equal(got, data) {
		t.Error("not what was sent")
	}
}

func TestResetComesAfterTheData(t *testing.T) {
	j := join(t, false, 0)
	client, server := j.pair()
	sendAll(t, server, []byte("last words"))
	eventually(t, func() bool { return client.Info().Unread == 10 })
	server.Abort()
	eventually(t, func() bool { return tcp.EndpointState(client.Info().State) == tcp.StateError })
	if got := receive(t, client, make([]byte, 100)); string(got) != "last words" {
		t.Fatalf("%q", got)
	}
	for range 3 {
		if _, _, _, err := client.Recv(make([]byte, 1)); !isReset(err) {
			t.Fatal(err)
		}
		if _, err := client.Send([]byte("x"), netip.AddrPort{}); !isReset(err) {
			t.Fatal(err)
		}
	}
}

func isReset(err tcpip.Error) bool {
	_, ok := err.(*tcpip.ErrConnectionReset)
	return ok
}

func TestManyConnections(t *testing.T) {
	const count = 300
	j := join(t, true, 0)
	l := j.listen(80)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			c := j.dial(uint16(20000+i), 80)
			sendAll(t, c, []byte{byte(i), byte(i >> 8)})
			if got := receive(t, c, make([]byte, 8)); len(got) != 1 || got[0] != byte(i) {
				t.Errorf("connection %d got %v", i, got)
			}
			c.Close()
		})
	}
	for range count {
		c := j.accept(l)
		wg.Go(func() {
			b := make([]byte, 2)
			for n := 0; n < 2; {
				n += copy(b[n:], receive(t, c, make([]byte, 2-n)))
			}
			sendAll(t, c, b[:1])
			for receive(t, c, make([]byte, 8)) != nil {
			}
			c.Close()
		})
	}
	wg.Wait()
	l.Close()
	if n := j.a.Endpoints() + j.b.Endpoints(); n != 0 {
		t.Errorf("%d endpoints left", n)
	}
}

// Everything at once on one connection while it, and then its stack, is closed: for the
// race detector, and against locks taken in two orders.
func TestCallsFromEverywhereDuringClose(t *testing.T) {
	for range 5 {
		t.Run("", func(t *testing.T) {
			j := join(t, true, 0)
			client, server := j.pair()
			var wg sync.WaitGroup
			stop := make(chan struct{})
			for _, e := range []*Endpoint{client, server} {
				for _, call := range callsOn(e) {
					wg.Go(func() { repeat(call, stop) })
				}
			}
			time.Sleep(10 * time.Millisecond)
			client.Close()
			j.b.Close()
			close(stop)
			wg.Wait()
		})
	}
}

func callsOn(e *Endpoint) []func() {
	return []func(){
		func() { _, _ = e.Send(make([]byte, 1000), netip.AddrPort{}) },
		func() { _, _, _, _ = e.Recv(make([]byte, 1000)) },
		func() { _, _ = e.ReadableFD(); _, _ = e.WritableFD() },
		func() { e.Info(); e.ConnectResult() },
		func() { _ = e.SetOption(OptNoDelay, 1); _, _ = e.GetOption(OptTTL) },
	}
}

func repeat(call func(), stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			call()
		}
	}
}

func TestPortIsFreeAfterTimeWaitIsLeft(t *testing.T) {
	j := join(t, true, 0)
	l := j.listen(80)
	for i := range 3 {
		client := j.dial(40000, 80)
		server := j.accept(l)
		client.Shutdown(2)
		if receive(t, server, make([]byte, 1)) != nil {
			t.Fatal("no end of stream")
		}
		server.Shutdown(2)
		eventually(t, func() bool { return tcp.EndpointState(client.Info().State) == tcp.StateTimeWait })
		eventually(t, func() bool { return tcp.EndpointState(server.Info().State) == tcp.StateClose })
		client.Close()
		// Frames keep their order, so a reset would have come before this connection.
		j.dial(41000+uint16(i), 80).Close()
		j.accept(l).Close()
		if seen := server.seen(); seen.Resets != 0 {
			t.Fatal("the peer was told by a reset")
		}
		server.Close()
	}
}
