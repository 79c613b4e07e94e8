// Package records turns blocks of a TPACKET_V3 receive ring (linux/if_packet.h)
// into records of capture files.
package records

import (
	"encoding/binary"
	"errors"
)

// Form is the kind of capture file, in gostack.h's numbers.
type Form int32

// The forms.
const (
	PcapMicro Form = 0
	PcapNano  Form = 1
	Pcapng    Form = 2
)

// Errors of Append.
var (
	ErrRoom   = errors.New("records: no room")
	ErrDamage = errors.New("records: not a block of a ring")
	ErrForm   = errors.New("records: no such form")
)

// Offsets in struct tpacket3_hdr, and in the sockaddr_ll that follows it.
const (
	offNext     = 0
	offSeconds  = 4
	offNanos    = 8
	offKept     = 12
	offLength   = 16
	offStatus   = 20
	offData     = 24
	offTCI      = 32
	offTPID     = 36
	offKind     = 48 + 10
	headerSize  = 48 + 20
	statusVLAN  = 1 << 4
	statusTPID  = 1 << 6
	outgoing    = 4
	vlanTPID    = 0x8100
	macs        = 12
	epbType     = 6
	epbFixed    = 32
	epbFlags    = 2
	flagIn      = 1
	flagOut     = 2
	largest     = epbFixed + 12 + 3 + 4
	nanosInUnit = 1000
)

var order = binary.NativeEndian

// Append writes the records of count packets, the first at the beginning of
// packets, to out and returns how many bytes that were. iface is the pcapng
// interface number. A VLAN tag that the kernel took out is put back.
func Append(out, packets []byte, count uint32, form Form, iface uint32) (int, error) {
	if form < PcapMicro || form > Pcapng {
		return 0, ErrForm
	}
	at, n := 0, 0
	for ; count > 0; count-- {
		if at < 0 || len(packets)-at < headerSize {
			return 0, ErrDamage
		}
		p := packets[at:]
		kept, data := int(order.Uint32(p[offKept:])), int(order.Uint16(p[offData:]))
		if data+kept > len(p) {
			return 0, ErrDamage
		}
		if len(out)-n < kept+largest {
			return 0, ErrRoom
		}
		n += one(out[n:], p, p[data:data+kept], form, iface)
		at += int(order.Uint32(p[offNext:]))
	}
	return n, nil
}

func one(out, header, frame []byte, form Form, iface uint32) int {
	seconds, nanos := order.Uint32(header[offSeconds:]), order.Uint32(header[offNanos:])
	length, status := order.Uint32(header[offLength:]), order.Uint32(header[offStatus:])
	tagged := status&statusVLAN != 0 && len(frame) >= macs
	kept := len(frame)
	if tagged {
		kept, length = kept+4, length+4
	}
	if form != Pcapng {
		if form == PcapMicro {
			nanos /= nanosInUnit
		}
		order.PutUint32(out, seconds)
		order.PutUint32(out[4:], nanos)
		order.PutUint32(out[8:], uint32(kept))
		order.PutUint32(out[12:], length)
		body(out[16:], header, frame, tagged, status)
		return 16 + kept
	}
	padded := (kept + 3) &^ 3
	total := epbFixed + padded + 12
	time := uint64(seconds)*1_000_000_000 + uint64(nanos)
	order.PutUint32(out, epbType)
	order.PutUint32(out[4:], uint32(total))
	order.PutUint32(out[8:], iface)
	order.PutUint32(out[12:], uint32(time>>32))
	order.PutUint32(out[16:], uint32(time))
	order.PutUint32(out[20:], uint32(kept))
	order.PutUint32(out[24:], length)
	body(out[28:], header, frame, tagged, status)
	clear(out[28+kept : 28+padded])
	way := uint32(flagIn)
	if header[offKind] == outgoing {
		way = flagOut
	}
	tail := out[28+padded:]
	order.PutUint16(tail, epbFlags)
	order.PutUint16(tail[2:], 4)
	order.PutUint32(tail[4:], way)
	order.PutUint32(tail[8:], 0) // end of options
	order.PutUint32(tail[12:], uint32(total))
	return total
}

func body(out, header, frame []byte, tagged bool, status uint32) {
	if !tagged {
		copy(out, frame)
		return
	}
	tpid := uint16(vlanTPID)
	if status&statusTPID != 0 {
		tpid = order.Uint16(header[offTPID:])
	}
	copy(out, frame[:macs])
	binary.BigEndian.PutUint16(out[macs:], tpid)
	binary.BigEndian.PutUint16(out[macs+2:], uint16(order.Uint32(header[offTCI:])))
	copy(out[macs+4:], frame[macs:])
}
