package main

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netkat/gostack/internal/netstack"
)

func TestCodes(t *testing.T) {
	for _, c := range []struct {
		err  tcpip.Error
		want int32
	}{
		{nil, 0},
		{&tcpip.ErrWouldBlock{}, eAgain},
		{&tcpip.ErrConnectStarted{}, eAgain},
		{&tcpip.ErrConnectionRefused{}, eRefused},
		{&tcpip.ErrConnectionReset{}, eReset},
		{&tcpip.ErrTimeout{}, eTimeout},
		{&tcpip.ErrHostUnreachable{}, eUnreach},
		{&netstack.NextHopSilent{}, eNextHop},
		{&tcpip.ErrClosedForSend{}, ePipe},
		{&tcpip.ErrMessageTooLong{}, eMsgSize},
		{&tcpip.ErrPortInUse{}, eInUse},
		{&tcpip.ErrNotConnected{}, eNotConn},
		{&tcpip.ErrNoBufferSpace{}, eNoMemory},
		{&tcpip.ErrInvalidOptionValue{}, eInvalid},
		{&tcpip.ErrMalformedHeader{}, eFault},
	} {
		if got := code(c.err); got != c.want {
			t.Errorf("%T is %d, want %d", c.err, got, c.want)
		}
	}
}
