package link

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// testEdge is a link endpoint without a stack.
func testEdge(t testing.TB, ethernet bool) *Endpoint {
	t.Helper()
	var mac tcpip.LinkAddress
	if ethernet {
		mac = "\x02\x00\x00\x00\x00\x01"
	}
	e, err := New(1500, mac, false, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}
