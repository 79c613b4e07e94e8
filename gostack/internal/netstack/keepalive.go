package netstack

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// Limits of Linux (include/net/tcp.h: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT); gVisor
// checks none.
const (
	maxKeepSeconds = 32767
	maxKeepCount   = 127
)

// setKeepalive sets OptKeepIdle, OptKeepInterval (seconds) or OptKeepCount.
func (e *Endpoint) setKeepalive(option uint32, value int64) tcpip.Error {
	most := int64(maxKeepSeconds)
	if option == OptKeepCount {
		most = maxKeepCount
	}
	if !e.tcp || value < 1 || value > most {
		return &tcpip.ErrInvalidOptionValue{}
	}
	switch option {
	case OptKeepIdle:
		idle := tcpip.KeepaliveIdleOption(time.Duration(value) * time.Second)
		return e.ep.SetSockOpt(&idle)
	case OptKeepInterval:
		interval := tcpip.KeepaliveIntervalOption(time.Duration(value) * time.Second)
		return e.ep.SetSockOpt(&interval)
	}
	return e.ep.SetSockOptInt(tcpip.KeepaliveCountOption, int(value))
}

// keepalive reads what setKeepalive sets.
func (e *Endpoint) keepalive(option uint32) (int64, tcpip.Error) {
	if !e.tcp {
		return 0, &tcpip.ErrInvalidOptionValue{}
	}
	switch option {
	case OptKeepIdle:
		var idle tcpip.KeepaliveIdleOption
		err := e.ep.GetSockOpt(&idle)
		return int64(time.Duration(idle) / time.Second), err
	case OptKeepInterval:
		var interval tcpip.KeepaliveIntervalOption
		err := e.ep.GetSockOpt(&interval)
		return int64(time.Duration(interval) / time.Second), err
	}
	count, err := e.ep.GetSockOptInt(tcpip.KeepaliveCountOption)
	return int64(count), err
}
