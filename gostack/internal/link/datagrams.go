package link

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// An ICMP error quotes at least the UDP header: ports, length and checksum (RFC 792). RFC 5927 has
// no rule for UDP, and the kernel accepts any error with the right ports, which an attacker finds
// with 65,536 packets. Length and checksum are 32 bits more that depend on what was sent. NATs
// restore them in what an ICMP error quotes (RFC 5508, 4.2). So an error is accepted only when a
// datagram with that length and checksum was sent on the flow in the last datagramsFor to twice
// that: a host's neighbour resolution gives up after three seconds (net/core/neighbour.c).
//
// Only a bit is kept of each datagram, so memory does not grow with the rate. A flow that sends
// 4,000 different datagrams in that time accepts most errors with the right ports, as the kernel
// does: that flow is a bulk transfer, where one error ends nothing.

const (
	datagramsFor  = 10 * time.Second
	datagramsBits = 12 // of the index: 512 bytes for each of two periods
)

// datagrams remembers the datagrams that were sent lately.
type datagrams struct {
	latest, previous [1 << (datagramsBits - 6)]uint64
	began            time.Duration
}

// sinceStart is the clock of datagrams. It is read for each one, and the monotonic clock
// alone takes half of what time.Now does.
func sinceStart() time.Duration { return time.Since(processStart) }

var processStart = time.Now()

// sent adds a datagram.
func (d *datagrams) sent(udp header.UDP, now time.Duration) {
	d.expire(now)
	at := datagramIndex(udp)
	d.latest[at>>6] |= 1 << (at & 63)
}

// contains is whether a datagram with this header was sent lately.
func (d *datagrams) contains(udp header.UDP, now time.Duration) bool {
	d.expire(now)
	at := datagramIndex(udp)
	return (d.latest[at>>6]|d.previous[at>>6])>>(at&63)&1 != 0
}

func (d *datagrams) expire(now time.Duration) {
	age := now - d.began
	if age < datagramsFor {
		return
	}
	clear(d.previous[:])
	if age < 2*datagramsFor {
		d.previous = d.latest
	}
	clear(d.latest[:])
	d.began = now
}

// datagramIndex is a multiplicative hash of length and checksum (Knuth).
func datagramIndex(udp header.UDP) uint32 {
	return (uint32(udp.Length())<<16 | uint32(udp.Checksum())) * 2654435761 >> (32 - datagramsBits)
}
