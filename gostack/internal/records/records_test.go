package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand"
	"testing"
)

func packet(frame []byte, status uint32, kind byte) []byte {
	const data = 96
	next := (data + len(frame) + 15) &^ 15
	p := make([]byte, next)
	order.PutUint32(p[offNext:], uint32(next))
	order.PutUint32(p[offSeconds:], 5)
	order.PutUint32(p[offNanos:], 123456789)
	order.PutUint32(p[offKept:], uint32(len(frame)))
	order.PutUint32(p[offLength:], uint32(len(frame))+100)
	order.PutUint32(p[offStatus:], status)
	order.PutUint16(p[offData:], data)
	order.PutUint32(p[offTCI:], 0x2005)
	order.PutUint16(p[offTPID:], 0x88a8)
	p[offKind] = kind
	copy(p[data:], frame)
	return p
}

func TestPcap(t *testing.T) {
	frame := bytes.Repeat([]byte{7}, 21)
	ring := append(packet(frame, 0, 0), packet(frame, 0, 0)...)
	for form, fraction := range map[Form]uint32{PcapMicro: 123456, PcapNano: 123456789} {
		out := make([]byte, 1000)
		n, err := Append(out, ring, 2, form, 0)
		if err != nil || n != 2*(16+21) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		second := out[37:]
		got := []uint32{order.Uint32(second), order.Uint32(second[4:]), order.Uint32(second[8:]), order.Uint32(second[12:])}
		for i, want := range []uint32{5, fraction, 21, 121} {
			if got[i] != want {
				t.Errorf("form %d, word %d: %d, not %d", form, i, got[i], want)
			}
		}
		if !bytes.Equal(second[16:37], frame) {
			t.Error("the frame is another one")
		}
	}
}

func TestTagIsPutBack(t *testing.T) {
	frame := append(bytes.Repeat([]byte{1}, 12), 8, 0, 9)
	for status, tpid := range map[uint32]uint16{statusVLAN: 0x8100, statusVLAN | statusTPID: 0x88a8} {
		out := make([]byte, 1000)
		n, err := Append(out, packet(frame, status, 0), 1, PcapMicro, 0)
		if err != nil || n != 16+19 || order.Uint32(out[8:]) != 19 || order.Uint32(out[12:]) != 119 {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if binary.BigEndian.Uint16(out[16+12:]) != tpid || binary.BigEndian.Uint16(out[16+14:]) != 0x2005 {
			t.Errorf("tag % x", out[28:32])
		}
		if !bytes.Equal(out[16+16:n], []byte{8, 0, 9}) {
			t.Errorf("behind the tag % x", out[32:n])
		}
	}
}

func TestPcapngLengthsAgree(t *testing.T) {
	for size := range 9 {
		out := bytes.Repeat([]byte{0xff}, 1000)
		n, err := Append(out, packet(make([]byte, size), 0, outgoing), 1, Pcapng, 3)
		if err != nil || n%4 != 0 {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if order.Uint32(out[4:]) != uint32(n) || order.Uint32(out[n-4:]) != uint32(n) || order.Uint32(out[8:]) != 3 {
			t.Errorf("size %d: % x", size, out[:n])
		}
		if order.Uint32(out[n-12:]) != flagOut || order.Uint32(out[n-8:]) != 0 {
			t.Errorf("size %d: options % x", size, out[n-16:n])
		}
	}
}

func TestNothingIsReadOrWrittenOutside(t *testing.T) {
	frame := make([]byte, 50)
	if _, err := Append(make([]byte, 60), packet(frame, 0, 0), 1, PcapMicro, 0); !errors.Is(err, ErrRoom) {
		t.Errorf("short out: %v", err)
	}
	if _, err := Append(make([]byte, 999), packet(frame, 0, 0)[:100], 1, PcapMicro, 0); !errors.Is(err, ErrDamage) {
		t.Errorf("short ring: %v", err)
	}
	if _, err := Append(nil, nil, 0, 9, 0); !errors.Is(err, ErrForm) {
		t.Errorf("form: %v", err)
	}
	random := rand.New(rand.NewSource(1))
	out, junk := make([]byte, 4096), make([]byte, 2048)
	for range 20000 {
		random.Read(junk[:256])
		order.PutUint32(junk[offKept:], uint32(random.Intn(300)))
		order.PutUint32(junk[offNext:], uint32(random.Intn(300)))
		_, _ = Append(out, junk[:random.Intn(2048)], uint32(random.Intn(9)), Form(random.Intn(3)), 0)
	}
}
