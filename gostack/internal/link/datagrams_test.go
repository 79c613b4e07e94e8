package link

import (
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func udpHeader(length, checksum uint16) header.UDP {
	udp := make(header.UDP, header.UDPMinimumSize)
	udp.Encode(&header.UDPFields{SrcPort: 1000, DstPort: 80, Length: length, Checksum: checksum})
	return udp
}

func TestDatagramsAreKnownByLengthAndChecksum(t *testing.T) {
	now := 1000 * time.Second
	var d datagrams
	d.sent(udpHeader(40, 0x1234), now)
	if !d.contains(udpHeader(40, 0x1234), now) {
		t.Error("the datagram that was sent")
	}
	guessed := 0
	for length := uint16(8); length < 1500; length++ {
		for checksum := uint16(1); checksum < 100; checksum++ {
			if d.contains(udpHeader(length, checksum), now) {
				guessed++
			}
		}
	}
	if guesses := 1492 * 99; guessed > guesses/2048 {
		t.Errorf("%d of %d guesses were accepted", guessed, guesses)
	}
}

func TestDatagramsAreForgottenAfterTwoPeriods(t *testing.T) {
	began := 1000 * time.Second
	for age, wanted := range map[time.Duration]bool{
		0: true, datagramsFor - 1: true, datagramsFor: true, 2*datagramsFor - 1: true, 2 * datagramsFor: false,
	} {
		var d datagrams
		d.sent(udpHeader(40, 7), began)
		if d.contains(udpHeader(40, 7), began+age) != wanted {
			t.Errorf("after %v: %v", age, !wanted)
		}
	}
	var d datagrams
	d.sent(udpHeader(40, 7), began)
	d.sent(udpHeader(50, 7), began+datagramsFor)
	if at := began + 2*datagramsFor; d.contains(udpHeader(40, 7), at) || !d.contains(udpHeader(50, 7), at) {
		t.Error("each period ends by itself")
	}
}
