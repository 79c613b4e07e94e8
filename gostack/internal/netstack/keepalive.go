package netstack

import (
	"math"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// Limits of Linux (include/net/tcp.h: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT); gVisor
// checks none.
const (
	maxKeepSeconds = 32767
	maxKeepCount   = 127
	keepCount      = 9 // of a connection for which no other was chosen
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
	e.keepCount.Store(uint32(value))
	return e.countProbes()
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
	if count := e.keepCount.Load(); count != 0 {
		return int64(count), nil
	}
	return keepCount, nil
}

// countProbes tells gVisor after how many probes a connection ends. With a user timeout that is no
// number of them (net/ipv4/tcp_timer.c, tcp_keepalive_timer); gVisor looks at both.
func (e *Endpoint) countProbes() tcpip.Error {
	timeout, err := e.userTimeout()
	if err != nil {
		return err
	}
	count := int64(math.MaxInt32)
	if timeout == 0 {
		count, _ = e.keepalive(OptKeepCount)
	}
	return e.ep.SetSockOptInt(tcpip.KeepaliveCountOption, int(count))
}

// setUserTimeout sets the milliseconds that sent data, or probes, may remain unacknowledged; 0 is
// the default.
func (e *Endpoint) setUserTimeout(milliseconds int64) tcpip.Error {
	if !e.tcp || milliseconds < 0 || milliseconds > math.MaxInt32 {
		return &tcpip.ErrInvalidOptionValue{}
	}
	timeout := tcpip.TCPUserTimeoutOption(time.Duration(milliseconds) * time.Millisecond)
	if err := e.ep.SetSockOpt(&timeout); err != nil {
		return err
	}
	return e.countProbes()
}

func (e *Endpoint) userTimeout() (int64, tcpip.Error) {
	if !e.tcp {
		return 0, &tcpip.ErrInvalidOptionValue{}
	}
	var timeout tcpip.TCPUserTimeoutOption
	err := e.ep.GetSockOpt(&timeout)
	return time.Duration(timeout).Milliseconds(), err
}
