package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
)

// Option numbers, as GS_OPT_ in gostack.h.
const (
	OptNoDelay = iota + 1
	OptKeepAlive
	OptTTL
	OptTOS
	OptReceiveBuffer
	OptSendBuffer
	OptBroadcast
)

// SetOption sets a GS_OPT_ option.
func (e *Endpoint) SetOption(option uint32, value int64) tcpip.Error {
	so := e.ep.SocketOptions()
	switch option {
	case OptNoDelay:
		so.SetDelayOption(value == 0)
	case OptKeepAlive:
		so.SetKeepAlive(value != 0)
	case OptTTL:
		return e.ep.SetSockOptInt(e.byVersion(tcpip.IPv4TTLOption, tcpip.IPv6HopLimitOption), int(value))
	case OptTOS:
		return e.ep.SetSockOptInt(e.byVersion(tcpip.IPv4TOSOption, tcpip.IPv6TrafficClassOption), int(value))
	case OptReceiveBuffer:
		so.SetReceiveBufferSize(value, true)
	case OptSendBuffer:
		so.SetSendBufferSize(value, true)
	case OptBroadcast:
		so.SetBroadcast(value != 0)
	default:
		return &tcpip.ErrUnknownProtocolOption{}
	}
	return nil
}

// GetOption reads a GS_OPT_ option.
func (e *Endpoint) GetOption(option uint32) (int64, tcpip.Error) {
	so := e.ep.SocketOptions()
	switch option {
	case OptNoDelay:
		return truth(!so.GetDelayOption()), nil
	case OptKeepAlive:
		return truth(so.GetKeepAlive()), nil
	case OptTTL:
		v, err := e.ep.GetSockOptInt(e.byVersion(tcpip.IPv4TTLOption, tcpip.IPv6HopLimitOption))
		return int64(v), err
	case OptTOS:
		v, err := e.ep.GetSockOptInt(e.byVersion(tcpip.IPv4TOSOption, tcpip.IPv6TrafficClassOption))
		return int64(v), err
	case OptReceiveBuffer:
		return so.GetReceiveBufferSize(), nil
	case OptSendBuffer:
		return so.GetSendBufferSize(), nil
	case OptBroadcast:
		return truth(so.GetBroadcast()), nil
	}
	return 0, &tcpip.ErrUnknownProtocolOption{}
}

func (e *Endpoint) byVersion(v4, v6 tcpip.SockOptInt) tcpip.SockOptInt {
	if e.key.Version == 4 {
		return v4
	}
	return v6
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
