package link

import (
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// told notes the acknowledgment numbers of the segments that the stack is given.
type told struct {
	stack.NetworkDispatcher
	numbers []uint32
}

func (d *told) DeliverNetworkPacket(_ tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	packet := pkt.ToView().AsSlice()
	d.numbers = append(d.numbers, header.TCP(packet[header.IPv4MinimumSize:]).AckNumber())
}

// said is a segment of the peer's: its acknowledgment number, and what else there is to it.
type said struct {
	ack, sequence uint32
	flags         header.TCPFlags
	tail          []byte // options and payload
	options       int    // so many bytes of the tail
	from          netip.AddrPort
}

func (s said) packet() []byte {
	from := s.from
	if !from.IsValid() {
		from = remote
	}
	b := append(tcpPacket(from, local, header.TCPFlagAck|s.flags, s.sequence, s.ack), s.tail...)
	ip := header.IPv4(b)
	ip.SetTotalLength(uint16(len(b)))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	segment := header.TCP(b[header.IPv4MinimumSize:])
	segment.SetDataOffset(uint8(header.TCPMinimumSize + s.options))
	segment.SetChecksum(0)
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(segment)))
	segment.SetChecksum(^checksum.Checksum(segment, sum))
	return b
}

func timestamps(value byte) []byte { return []byte{1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, value} }

func TestTheLastOfSeveralAcknowledgementsIsEnough(t *testing.T) {
	sack := append([]byte{1, 1, 5, 10}, make([]byte, 8)...)
	other := netip.MustParseAddrPort("10.0.0.2:81")
	for name, c := range map[string]struct {
		came []said
		want []uint32
	}{
		"further and further":        {[]said{{ack: 1}, {ack: 2}, {ack: 7}}, []uint32{7}},
		"over the end of numbers":    {[]said{{ack: 0xffffff00}, {ack: 5}}, []uint32{5}},
		"duplicates":                 {[]said{{ack: 1}, {ack: 2}, {ack: 2}, {ack: 2}}, []uint32{2, 2, 2}},
		"out of order":               {[]said{{ack: 9}, {ack: 4}, {ack: 10}}, []uint32{9, 10}},
		"data between":               {[]said{{ack: 1}, {ack: 2, tail: []byte("x")}, {ack: 3, sequence: 1}}, []uint32{1, 2, 3}},
		"data last":                  {[]said{{ack: 1}, {ack: 2, tail: []byte("x")}}, []uint32{1, 2}},
		"another place":              {[]said{{ack: 1}, {ack: 2, sequence: 1}}, []uint32{1, 2}},
		"FIN":                        {[]said{{ack: 1}, {ack: 2, flags: header.TCPFlagFin}, {ack: 3}}, []uint32{1, 2, 3}},
		"RST":                        {[]said{{ack: 1}, {ack: 2, flags: header.TCPFlagRst}}, []uint32{1, 2}},
		"timestamps":                 {[]said{{ack: 1, tail: timestamps(1), options: 12}, {ack: 2, tail: timestamps(2), options: 12}}, []uint32{2}},
		"timestamps, once":           {[]said{{ack: 1, tail: timestamps(1), options: 12}, {ack: 2}}, []uint32{1, 2}},
		"SACK, as long as those":     {[]said{{ack: 1, tail: timestamps(1), options: 12}, {ack: 2, tail: sack, options: 12}, {ack: 3, tail: sack, options: 12}}, []uint32{1, 2, 3}},
		"another flow":               {[]said{{ack: 1}, {ack: 2, from: other}, {ack: 3}}, []uint32{1, 2, 3}},
		"nothing":                    {nil, nil},
		"a byte in a header's place": {[]said{{ack: 1}, {ack: 2, tail: timestamps(1)}}, []uint32{1, 2}},
	} {
		if got := delivered(t, c.came); !slices.Equal(got, c.want) {
			t.Errorf("%s: the stack was told %d, want %d", name, got, c.want)
		}
	}
}

func delivered(t *testing.T, came []said) []uint32 {
	t.Helper()
	edge, err := New(1500, "", true, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	seen := &told{}
	edge.Attach(seen)
	var receiver Receiver
	defer receiver.Release()
	batch := receiveBatch(len(came) + 1)
	receiver.Arm(edge, batch)
	for i, segment := range came {
		packet := segment.packet()
		copy(receiver.slots[i].first.view.AsSlice(), packet)
		batch[i].Len = uint32(VnetLen + len(packet))
	}
	receiver.Inject(batch, 0, len(came))
	if in := edge.Counters.FramesIn.Load(); in != uint64(len(came)) {
		t.Errorf("%d frames counted of %d", in, len(came))
	}
	return seen.numbers
}
