package link

import (
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// path is a connection on a path, with a clock that the test moves.
type path struct {
	*Observer
	version  int
	key      FlowKey
	una, nxt uint32
	at       time.Time
	link     uint32
	mss      int // of the last segment that was sent
	probed   [2]uint32
	resent   chan uint32
}

// newPath is an open connection whose peer takes full segments of Ethernet.
func newPath(version int) *path {
	o, key := watched(version, header.TCPProtocolNumber)
	p := &path{Observer: o, version: version, key: key, at: time.Unix(1000, 0), link: 1500, resent: make(chan uint32, 9)}
	o.now = func() time.Time { return p.at }
	o.Watch(key, nil, func(mtu uint32) { p.resent <- mtu })
	send(o, version, firstNumber, header.TCPFlagSyn, 0)
	acknowledgeNumber(o, key, firstNumber+1)
	o.flows[key].PeerMSS = uint16(1500 - p.headers())
	p.una, p.nxt = firstNumber+1, firstNumber+1
	return p
}

func (p *path) headers() int {
	if p.version == 4 {
		return header.IPv4MinimumSize + header.TCPMinimumSize
	}
	return header.IPv6MinimumSize + header.TCPMinimumSize
}

func (p *path) largest() int { return int(p.See(p.key).LargestPacket) }

func withGSO(pkt *stack.PacketBuffer, version int) {
	kind, length := stack.GSOTCPv4, uint16(header.IPv4MinimumSize)
	if version == 6 {
		kind, length = stack.GSOTCPv6, header.IPv6MinimumSize
	}
	pkt.GSOOptions = stack.GSO{
		Type: kind, NeedsCsum: true, CsumOffset: header.TCPChecksumOffset, MSS: 1440, L3HdrLen: length,
	}
}

// send sends a packet, and returns the size of the one that follows it, or 0.
func (p *path) send(number uint32, payload int) int {
	return p.sendWith(tcpHeader(number, 0, header.TCPFlagAck), payload)
}

func (p *path) sendWith(segment header.TCP, payload int) int {
	pkt := packetOf(p.version, header.TCPProtocolNumber, segment, payload)
	defer pkt.DecRef()
	withGSO(pkt, p.version)
	p.edge.SetIPMTU(p.link)
	extra := p.outgoing(pkt).extra
	p.mss = int(pkt.GSOOptions.MSS)
	if end := segment.SequenceNumber() + uint32(payload); end-p.nxt < 1<<31 {
		p.nxt = end
	}
	if extra == nil {
		return 0
	}
	defer extra.DecRef()
	start := header.TCP(extra.TransportHeader().Slice()).SequenceNumber()
	p.probed = [2]uint32{start, start + uint32(extra.Data().Size())}
	return extra.Size()
}

// sendNew sends the next bytes.
func (p *path) sendNew(payload int) int { return p.send(p.nxt, payload) }

func (p *path) acknowledge(number uint32) {
	p.una = number
	acknowledgeNumber(p.Observer, p.key, number)
}

// duplicate has the peer acknowledge all, and report the last probe as a duplicate.
func (p *path) duplicate() { p.report(p.probed[0], p.probed[1]) }

func (p *path) report(start, end uint32) {
	segment := acknowledgment(p.nxt, 1000, header.TCPFlagAck, false, 0)
	header.EncodeSACKBlocks([]header.SACKBlock{{Start: seqnum.Value(start), End: seqnum.Value(end)}}, segment[header.TCPMinimumSize:])
	p.una = p.nxt
	receive(p.Observer, p.key, segment)
}

// lose has the peer acknowledge all, and what was sent after it, without a report.
func (p *path) lose() {
	p.sendNew(1000)
	p.acknowledge(p.nxt)
}

// tooBig has a router reject the oldest segment in flight.
func (p *path) tooBig(mtu uint32) {
	quote := quoted(p.version, header.TCPProtocolNumber, tcpHeader(p.una, 0, header.TCPFlagAck))
	kind := errorKinds[p.version]["too big"]
	arrive(p.Observer, p.version, uint8(kind[0]), uint8(kind[1]), mtu, quote)
}

// resentAt is the path MTU that was passed to gVisor.
func (p *path) resentAt(t *testing.T) uint32 {
	t.Helper()
	select {
	case mtu := <-p.resent:
		return mtu
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was passed to gVisor")
		return 0
	}
}

// narrowed is a path on which a router has said 1400, and whose search is due.
func narrowed(t *testing.T, version int) *path {
	p := newPath(version)
	p.sendNew(30_000)
	p.tooBig(1400)
	p.resentAt(t)
	p.acknowledge(p.nxt)
	if size := p.sendNew(30_000); size != 0 {
		t.Fatalf("a probe of %d bytes at once", size)
	}
	p.at = p.at.Add(mtuExpires)
	return p
}

func TestPathMTUHasAFloor(t *testing.T) {
	for _, c := range []struct{ version, reported, wanted int }{
		{4, 1400, 1400}, {4, 1500, 1500}, {4, 65535, 1500}, {4, 552, 552}, {4, 551, 552}, {4, 68, 552}, {4, 0, 552},
		{6, 1400, 1400}, {6, 1500, 1500}, {6, 1280, 1280}, {6, 1279, 1500}, {6, 68, 1500}, {6, 0, 1500},
	} {
		p := newPath(c.version)
		p.sendNew(30_000)
		p.tooBig(uint32(c.reported))
		if p.largest() != c.wanted {
			t.Errorf("IPv%d, a router says %d: %d, not %d", c.version, c.reported, p.largest(), c.wanted)
		}
		if p.sendNew(30_000); p.mss != c.wanted-p.headers() {
			t.Errorf("IPv%d, a router says %d: segments of %d", c.version, c.reported, p.mss)
		}
	}
}

func TestSegmentsFitWithTheirOptions(t *testing.T) {
	for _, version := range []int{4, 6} {
		p := newPath(version)
		segment := acknowledgment(0, 1000, header.TCPFlagAck, true, 0)
		segment.SetSequenceNumber(p.nxt)
		segment[1], segment[3] = 0, 80
		segment.SetSourcePort(1000)
		p.sendWith(segment, 30_000)
		if wanted := 1500 - p.headers() - 12; p.mss != wanted {
			t.Errorf("IPv%d: %d, not %d", version, p.mss, wanted)
		}
	}
}

func TestSegmentsAreNoLargerThanThePeerTakes(t *testing.T) {
	p := newPath(4)
	p.flows[p.key].PeerMSS = 700
	if p.sendNew(30_000); p.mss != 700 {
		t.Error(p.mss)
	}
}

func TestSegmentsAreNoLargerThanTheLimit(t *testing.T) {
	p := newPath(4)
	p.LimitSize(p.key, 1300)
	if p.sendNew(30_000); p.mss != 1260 || p.largest() != 1300 {
		t.Error(p.mss, p.largest())
	}
}

func TestSegmentsFollowTheMTUOfTheLink(t *testing.T) {
	p := newPath(4)
	for _, mtu := range []uint32{1400, 1500, 1350, 9000} {
		p.link = mtu
		if p.sendNew(30_000); p.mss != min(int(mtu), 1500)-40 {
			t.Errorf("segments of %d on a link of %d", p.mss, mtu)
		}
	}
}

func TestAWiderLinkIsProbedAtOnceWhereThePathWasNarrow(t *testing.T) {
	p := newPath(4)
	p.link = 1400
	p.sendNew(30_000)
	p.tooBig(1300)
	p.link = 1500
	if size := p.sendNew(30_000); size != 1500 {
		t.Fatalf("a probe of %d bytes", size)
	}
}

func TestAPathThatHealedIsUsedAgain(t *testing.T) {
	for _, version := range []int{4, 6} {
		p := narrowed(t, version)
		if size := p.sendNew(30_000); size != 1500 || p.mss != 1400-p.headers() {
			t.Fatalf("IPv%d: a probe of %d, after segments of %d", version, size, p.mss)
		}
		if size := p.sendNew(30_000); size != 0 {
			t.Fatalf("IPv%d: a second probe before the first was answered", version)
		}
		p.duplicate()
		if p.sendNew(30_000); p.largest() != 1500 || p.mss != 1500-p.headers() {
			t.Errorf("IPv%d: %d, segments of %d", version, p.largest(), p.mss)
		}
		if len(p.resent) != 0 {
			t.Errorf("IPv%d: a probe makes gVisor retransmit nothing", version)
		}
	}
}

func TestProbesAreNotSentBeforeTheyAreDue(t *testing.T) {
	p := narrowed(t, 4)
	p.at = p.at.Add(-1)
	if size := p.sendNew(30_000); size != 0 {
		t.Fatal("too early")
	}
	p.at = p.at.Add(1)
	if size := p.sendNew(1000); size != 0 {
		t.Fatal("there are not enough bytes to repeat")
	}
	if size := p.send(p.una, 30_000); size != 0 {
		t.Fatal("a retransmission is not repeated again")
	}
	if size := p.sendNew(1460); size != 1500 {
		t.Fatalf("exactly enough: %d", size)
	}
}

func TestALostProbeIsRepeatedTwice(t *testing.T) {
	p := narrowed(t, 4)
	p.flows[p.key].pmtu.hole = true
	sizes := []int{}
	for range 18 {
		sizes = append(sizes, p.sendNew(30_000))
		p.lose()
		if p.largest() != 1400 {
			t.Fatalf("%d after a probe was lost", p.largest())
		}
	}
	wanted := []int{1500, 1500, 1500, 1450, 1450, 1450, 1425, 1425, 1425, 1412, 1412, 1412, 1406, 1406, 1406, 0, 0, 0}
	for i := range wanted {
		if sizes[i] != wanted[i] {
			t.Fatalf("probes of %v, not %v", sizes, wanted)
		}
	}
	p.at = p.at.Add(mtuExpires)
	if size := p.sendNew(30_000); size != 1500 {
		t.Fatalf("the next search begins with %d", size)
	}
}

func TestTheSearchFindsWhatThePathCarries(t *testing.T) {
	for real := uint32(1400); real <= 1500; real++ {
		p := narrowed(t, 6)
		for range 40 {
			size := p.sendNew(30_000)
			switch {
			case size == 0:
				p.acknowledge(p.nxt)
			case uint32(size) <= real:
				p.duplicate()
			default:
				p.lose()
			}
		}
		// What is not found is less than searchEnds.
		if found := uint32(p.largest()); found > real || found+searchEnds <= real {
			t.Errorf("a path of %d: found %d", real, found)
		}
	}
}

func TestARouterThatRefusesAProbeNamesTheNext(t *testing.T) {
	p := narrowed(t, 4)
	p.sendNew(30_000)
	p.tooBig(1450)
	if p.largest() != 1400 || len(p.resent) != 0 {
		t.Fatalf("%d: it was the probe that was too big", p.largest())
	}
	if size := p.sendNew(30_000); size != 1450 {
		t.Fatalf("the next probe has %d bytes", size)
	}
	p.duplicate()
	if p.largest() != 1450 {
		t.Fatal(p.largest())
	}
}

func TestARouterThatIsAsNarrowAsBeforeEndsTheSearch(t *testing.T) {
	p := narrowed(t, 4)
	p.sendNew(30_000)
	p.tooBig(1400)
	p.acknowledge(p.nxt)
	if size := p.sendNew(30_000); size != 0 || p.largest() != 1400 {
		t.Fatalf("a probe of %d; %d", size, p.largest())
	}
	p.at = p.at.Add(mtuExpires)
	if size := p.sendNew(30_000); size != 1500 {
		t.Fatalf("the next search begins with %d", size)
	}
}

func TestWithoutAnswersAPathMTUExpires(t *testing.T) {
	p := narrowed(t, 4)
	for range 17 {
		p.sendNew(30_000)
		p.lose()
		if p.largest() != 1400 {
			t.Fatal("too early")
		}
	}
	if size := p.sendNew(30_000); size != 1400 {
		t.Fatalf("the last probe has %d bytes, not the size in use", size)
	}
	p.lose()
	if p.largest() != 1500 {
		t.Fatalf("no router refused the probes, and the peer has no DSACK: %d", p.largest())
	}
	p.acknowledge(p.nxt)
	p.sendNew(30_000)
	p.tooBig(1400)
	if p.largest() != 1400 || p.resentAt(t) != 1400 {
		t.Fatal("a router that still is narrow says so")
	}
}

func TestOnlyAReportOfTheWholeProbeIsAnAnswer(t *testing.T) {
	for what, c := range map[string]struct {
		start, end uint32 // from the probe's
		wanted     int
	}{
		"the probe": {0, 0, 1500}, "more": {1<<32 - 10, 10, 1500},
		"not its start": {1, 0, 1400}, "not its end": {0, 1<<32 - 1, 1400}, "another": {2000, 2000, 1400},
	} {
		p := narrowed(t, 4)
		p.sendNew(30_000)
		p.report(p.probed[0]+c.start, p.probed[1]+c.end)
		if p.largest() != c.wanted {
			t.Errorf("%s: %d", what, p.largest())
		}
	}
}

func TestARetransmissionOfWhatAProbeRepeatsEndsIt(t *testing.T) {
	p := narrowed(t, 4)
	p.sendNew(30_000)
	p.send(p.probed[0]+500, 1360)
	p.duplicate()
	if p.largest() != 1400 {
		t.Fatal("the duplicate may be of the retransmission")
	}
	if size := p.sendNew(30_000); size != 1500 {
		t.Fatalf("it is sent again: %d", size)
	}
}

func TestAnotherConnectionOfTheSameEndsBeginsWithTheLinks(t *testing.T) {
	p := narrowed(t, 4)
	send(p.Observer, 4, 77, header.TCPFlagSyn, 0)
	acknowledgeNumber(p.Observer, p.key, 78)
	p.send(78, 30_000)
	if p.largest() != 1500 {
		t.Fatal(p.largest())
	}
}

func TestWhatIsSentAfterCloseFitsThePath(t *testing.T) {
	p := newPath(4)
	p.sendNew(30_000)
	p.tooBig(1400)
	p.Forget(p.key, true)
	if p.sendNew(30_000); p.mss != 1360 {
		t.Fatalf("segments of %d", p.mss)
	}
}
