package link

import "gvisor.dev/gvisor/pkg/tcpip"

// MAC is a 48-bit address in the low bits of a number, so that it can be read and written
// atomically; 0 is none.
type MAC uint64

const macKnown MAC = 1 << 48

func macOf(a tcpip.LinkAddress) MAC {
	if len(a) != 6 {
		return 0
	}
	m := macKnown
	for i := range 6 {
		m |= MAC(a[i]) << (8 * i)
	}
	return m
}

// Known reports whether there is an address.
func (m MAC) Known() bool { return m != 0 }

// Bytes returns the address, all zero where there is none.
func (m MAC) Bytes() (b [6]byte) {
	m.put(b[:])
	return b
}

func (m MAC) put(b []byte) {
	for i := range 6 {
		b[i] = byte(m >> (8 * i))
	}
}
