package link

import (
	"net/netip"
	"testing"
	"time"
)

func TestTheLongestPrefixDecides(t *testing.T) {
	table := newRoutes([]Route{
		{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.0.1")},
		{netip.MustParsePrefix("10.0.0.0/24"), netip.Addr{}},
		{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddr("10.0.0.2")},
	}).with(Route{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParseAddr("10.0.0.3")})
	for destination, wanted := range map[string]string{
		"198.51.100.1": "10.0.0.1", "10.0.0.9": "10.0.0.9", "192.0.2.1": "10.0.0.2", "192.0.2.7": "10.0.0.3",
	} {
		if hop, ok := table.nextHop(netip.MustParseAddr(destination)); !ok || hop.String() != wanted {
			t.Errorf("%s by %s", destination, hop)
		}
	}
	if _, ok := table.nextHop(netip.MustParseAddr("2001:db8::1")); ok {
		t.Error("no IPv6 route")
	}
}

func TestASecondRequestIsAnsweredWhileItMayBeTheSameQuestion(t *testing.T) {
	e := testEdge(t, true)
	own, asker := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")
	e.Assign(own, true)
	now := time.Now()
	for _, c := range []struct {
		asker  netip.Addr
		after  time.Duration
		wanted bool
	}{
		{asker, 0, false},
		{netip.MustParseAddr("10.0.0.7"), 500 * time.Millisecond, false},
		{asker, time.Second, true},
		{asker, 5 * time.Second, false},
		{asker, 6 * time.Second, true},
		{netip.IPv4Unspecified(), 6 * time.Second, false}, // address conflict detection (RFC 5227)
		{netip.IPv4Unspecified(), 7 * time.Second, false},
	} {
		if e.assigned.again(c.asker, own, now.Add(c.after)) != c.wanted {
			t.Errorf("%s after %v: %v", c.asker, c.after, !c.wanted)
		}
	}
	e.Assign(own, false)
	if e.assigned.again(asker, own, now.Add(6500*time.Millisecond)) {
		t.Error("the kernel has it no more")
	}
	for i := range 3 * askersKept {
		e.Assign(own, true)
		e.assigned.again(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), own, now)
	}
	if len(e.assigned.asked) > askersKept {
		t.Errorf("%d requests are remembered", len(e.assigned.asked))
	}
}

func TestWhatIsRememberedOfFragmentsAndClosedFlowsIsBounded(t *testing.T) {
	var f fragments
	for i := range 3 * fragmentedKept {
		f.remember(fragmentKey{number: uint32(i)}, next{mac: MAC(i)})
	}
	if _, ok := f.find(fragmentKey{number: 3*fragmentedKept - 1}); !ok || len(f.known) != fragmentedKept {
		t.Errorf("%d datagrams", len(f.known))
	}
	var c closing
	for i := range 3 * closingKept {
		c.add(FlowKey{LocalPort: uint16(i)}, &record{})
	}
	if len(c.records) > closingKept || len(c.order) > closingKept {
		t.Errorf("%d records, %d in order", len(c.records), len(c.order))
	}
}
