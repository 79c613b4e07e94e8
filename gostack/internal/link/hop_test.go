package link

import (
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	firstMAC  = tcpip.LinkAddress("\x02\x00\x00\x00\xaa\x01")
	secondMAC = tcpip.LinkAddress("\x02\x00\x00\x00\xaa\x02")
)

var router = netip.MustParseAddr("10.0.0.1")

// cache stands in for gVisor's neighbour cache, and records what it is asked.
type cache struct {
	hops    *Hops
	listed  bool
	asked   int
	removed int
}

func (c *cache) Resolve(a, _ netip.Addr, _ func(tcpip.LinkAddress)) {
	c.asked++
	if !c.listed {
		c.listed = true
		c.hops.Changed(a, "", stack.Incomplete)
	}
}

func (c *cache) Remove(a netip.Addr) bool {
	c.removed++
	if !c.listed {
		return false
	}
	c.listed = false
	c.hops.Removed(a)
	return true
}

// testHops are next hops whose packets go to passed and failed.
func testHops(t *testing.T) (hops *Hops, c *cache, passed, failed *[]*stack.PacketBuffer) {
	t.Helper()
	passed, failed = new([]*stack.PacketBuffer), new([]*stack.PacketBuffer)
	hops = newHops(testEdge(t, true))
	hops.pass = func(pkts []*stack.PacketBuffer) { *passed = append(*passed, pkts...) }
	hops.fail = func(pkts []*stack.PacketBuffer) { *failed = append(*failed, pkts...) }
	c = &cache{hops: hops}
	hops.resolver = c
	return hops, c, passed, failed
}

func framed(n int) []*stack.PacketBuffer {
	all := make([]*stack.PacketBuffer, n)
	for i := range all {
		all[i] = stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: 14})
		all[i].LinkHeader().Push(14)
	}
	return all
}

func TestPacketsWaitForTheMACInOrder(t *testing.T) {
	hops, c, passed, _ := testHops(t)
	h := hops.acquire(router)
	defer h.release()
	pkts := framed(heldFrames + 2)
	defer release(pkts)
	for _, pkt := range pkts {
		if !h.hold(pkt, netip.Addr{}) {
			t.Fatal("the MAC is not known")
		}
	}
	if c.asked == 0 || !hops.Holding() {
		t.Fatalf("asked %d times", c.asked)
	}
	hops.Changed(router, firstMAC, stack.Reachable)
	if len(*passed) != heldFrames || (*passed)[0] != pkts[2] || (*passed)[heldFrames-1] != pkts[heldFrames+1] {
		t.Fatalf("%d packets", len(*passed))
	}
	if hops.Dropped.Load() != 2 {
		t.Fatalf("%d dropped", hops.Dropped.Load())
	}
	if got := destinationMAC(pkts[2]); got != macOf(firstMAC) || hops.Holding() {
		t.Fatalf("%x", got.Bytes())
	}
	if h.hold(pkts[0], netip.Addr{}) {
		t.Fatal("the MAC is known")
	}
}

func TestANextHopThatDoesNotAnswerFailsWhatWaits(t *testing.T) {
	hops, c, _, failed := testHops(t)
	h := hops.acquire(router)
	defer h.release()
	pkts := framed(2)
	defer release(pkts)
	h.hold(pkts[0], netip.Addr{})
	answers := 0
	h.Await(netip.Addr{}, func(found bool) {
		if answers++; found {
			t.Error("no answer")
		}
	})
	hops.Changed(router, "", stack.Unreachable)
	if len(*failed) != 1 || answers != 1 || hops.Dropped.Load() != 1 {
		t.Fatalf("%d failed, %d answers", len(*failed), answers)
	}
	c.listed = false
	before := c.asked
	h.hold(pkts[1], netip.Addr{})
	if c.asked == before {
		t.Fatal("the next packet asks again")
	}
}

func TestANextHopThatTheCacheHasNoRoomForKeepsItsMAC(t *testing.T) {
	hops, c, _, _ := testHops(t)
	h := hops.acquire(router)
	defer h.release()
	h.ask(netip.Addr{})
	hops.Changed(router, firstMAC, stack.Reachable)
	hops.Removed(router)
	c.listed = false
	asked := c.asked
	if h.use(netip.Addr{}) != macOf(firstMAC) || c.asked != asked {
		t.Fatal("it is used, and not asked for at once")
	}
	h.asked.Store(h.asked.Load() - int64(unlistedEvery))
	if h.use(netip.Addr{}) != macOf(firstMAC) || c.asked != asked+1 {
		t.Fatal("it is asked for from time to time")
	}
}

func TestWhatTheCacheHasNoRoomForWhileItIsAskedDoesNotFail(t *testing.T) {
	hops, c, passed, failed := testHops(t)
	h := hops.acquire(router)
	defer h.release()
	pkts := framed(1)
	defer release(pkts)
	h.hold(pkts[0], netip.Addr{})
	c.listed = false
	hops.Removed(router)
	if len(*failed) != 0 || !hops.Holding() {
		t.Fatal("that is no answer")
	}
	hops.Changed(router, firstMAC, stack.Reachable)
	if len(*passed) != 1 {
		t.Fatal("the answer came")
	}
}

func TestAnAnnouncementOfAnotherMACIsForgottenAndNotBelieved(t *testing.T) {
	hops, c, _, _ := testHops(t)
	h := hops.acquire(router)
	defer h.release()
	h.ask(netip.Addr{})
	hops.Changed(router, firstMAC, stack.Reachable)
	if hops.announced(router, macOf(firstMAC), false) || c.removed != 0 {
		t.Fatal("nothing new")
	}
	if !hops.announced(router, macOf(secondMAC), true) || c.removed != 0 {
		t.Fatal("a second answer, right after the first: two neighbours claim the address")
	}
	if !hops.announced(router, macOf(secondMAC), false) || c.removed != 1 || h.MAC().Known() {
		t.Fatal("it is to be resolved again")
	}
	hops.Changed(router, secondMAC, stack.Reachable)
	h.changed = time.Now().Add(-2 * lockTime)
	c.listed = true
	if !hops.announced(router, macOf(firstMAC), true) || h.MAC().Known() {
		t.Fatal("later, an answer counts as an announcement")
	}
	hops.Changed(router, firstMAC, stack.Static)
	if hops.announced(router, macOf(secondMAC), false) {
		t.Fatal("a static MAC is never asked for")
	}
}

func TestDoubtAsksAndGoesOnSending(t *testing.T) {
	hops, c, _, _ := testHops(t)
	h := hops.acquire(router)
	defer h.release()
	h.ask(netip.Addr{})
	hops.Changed(router, firstMAC, stack.Reachable)
	asked := c.asked
	h.doubt(netip.Addr{})
	h.doubt(netip.Addr{})
	if c.asked != asked+1 || h.use(netip.Addr{}) != macOf(firstMAC) || h.State() != stack.Incomplete {
		t.Fatalf("asked %d times, %v", c.asked-asked, h.State())
	}
	hops.Changed(router, secondMAC, stack.Reachable)
	if h.use(netip.Addr{}) != macOf(secondMAC) {
		t.Fatal("the answer counts")
	}
}

func TestNextHopsThatNobodyUsesAreDropped(t *testing.T) {
	hops, _, _, _ := testHops(t)
	for i := range 1000 {
		hops.acquire(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})).release()
	}
	if len(hops.byAddress) != 0 {
		t.Fatalf("%d left", len(hops.byAddress))
	}
	h := hops.acquire(router)
	hops.Changed(router, firstMAC, stack.Reachable)
	h.release()
	if hops.find(router) == nil {
		t.Fatal("gVisor's cache lists it")
	}
	hops.Removed(router)
	if len(hops.byAddress) != 0 {
		t.Fatal("nor does the cache")
	}
}
