package netstack

import (
	"maps"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
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
	OptMinTTL
	OptMaxSegment
	OptSharePort
	OptKeepIdle
	OptKeepInterval
	OptKeepCount
	OptUserTimeout
	OptMTUExpires
	OptLinger
)

// inherited are the options that an accepted connection has from its listener, as on Linux, where
// they were set on it.
var inherited = []uint32{OptKeepAlive, OptKeepIdle, OptKeepInterval, OptKeepCount, OptUserTimeout, OptLinger}

// SetDefault sets a GS_OPT_ option of every endpoint that is opened from now on: what
// must be in force before the first segment leaves. It is judged when one is opened.
func (s *Stack) SetDefault(option uint32, value int64) tcpip.Error {
	if option < OptNoDelay || option > OptLinger {
		return &tcpip.ErrInvalidOptionValue{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.defaults[option] = value
	return nil
}

func (s *Stack) applyDefaults(e *Endpoint) tcpip.Error {
	s.mu.Lock()
	defaults := maps.Clone(s.defaults)
	s.mu.Unlock()
	for option, value := range defaults {
		if !e.tcp && (option == OptNoDelay || option == OptKeepAlive || option == OptMaxSegment || option >= OptKeepIdle) {
			continue
		}
		if err := e.SetOption(option, value); err != nil {
			return err
		}
	}
	return nil
}

// sendWith has the SYN-ACKs of a listener leave with its TTL: gVisor makes them on endpoints
// that have nothing of the listener, so the network protocol's own is what can be set. There
// is no such thing for the TOS.
func (s *Stack) sendWith(listener *Endpoint) tcpip.Error {
	value, err := listener.GetOption(OptTTL)
	if err != nil || value < 1 {
		return err // gVisor's word for none is 0, or -1
	}
	ttl := tcpip.DefaultTTLOption(value)
	protocol := header.IPv4ProtocolNumber
	if listener.key.Version == 6 {
		protocol = header.IPv6ProtocolNumber
	}
	return s.stack.SetNetworkProtocolOption(protocol, &ttl)
}

// inherit takes over what a listener sends with; on Linux an accepted socket has it too.
func (e *Endpoint) inherit(listener *Endpoint) {
	for _, option := range []uint32{OptTTL, OptTOS} {
		if value, err := listener.GetOption(option); err == nil && value > 0 {
			_ = e.SetOption(option, value)
		}
	}
	chosen := listener.chosen.Load()
	for _, option := range inherited {
		if chosen&(1<<option) == 0 {
			continue
		}
		if value, err := listener.GetOption(option); err == nil {
			_ = e.SetOption(option, value)
		}
	}
}

// SetOption sets a GS_OPT_ option.
func (e *Endpoint) SetOption(option uint32, value int64) tcpip.Error {
	err := e.setOption(option, value)
	if err == nil {
		e.chosen.Or(1 << option)
	}
	return err
}

func (e *Endpoint) setOption(option uint32, value int64) tcpip.Error {
	so := e.ep.SocketOptions()
	switch option {
	case OptNoDelay:
		so.SetDelayOption(value == 0)
	case OptKeepAlive:
		so.SetKeepAlive(value != 0)
	case OptTTL:
		if value < 1 || value > 255 {
			return &tcpip.ErrInvalidOptionValue{}
		}
		return e.ep.SetSockOptInt(e.byVersion(tcpip.IPv4TTLOption, tcpip.IPv6HopLimitOption), int(value))
	case OptTOS:
		if value < 0 || value > 255 {
			return &tcpip.ErrInvalidOptionValue{}
		}
		return e.ep.SetSockOptInt(e.byVersion(tcpip.IPv4TOSOption, tcpip.IPv6TrafficClassOption), int(value))
	case OptReceiveBuffer:
		so.SetReceiveBufferSize(value, true)
	case OptSendBuffer:
		e.pourer.fixed.Store(true)
		so.SetSendBufferSize(value, true)
	case OptBroadcast:
		so.SetBroadcast(value != 0)
	case OptMinTTL:
		if value < 0 || value > 255 {
			return &tcpip.ErrInvalidOptionValue{}
		}
		e.minTTL.Store(uint32(value))
		e.stack.Link.Observer.RequireTTL(e.key, uint8(value))
	case OptMaxSegment:
		// gVisor tells the peer, and for its own segments goes by the peer's word alone.
		if err := e.ep.SetSockOptInt(tcpip.MaxSegOption, int(value)); err != nil {
			return err
		}
		e.maxPayload.Store(uint32(value))
	case OptSharePort:
		// What gVisor looks at differs: TCP and UDP each have their own idea of SO_REUSEADDR.
		so.SetReuseAddress(value != 0)
		so.SetReusePort(value != 0)
	case OptKeepIdle, OptKeepInterval, OptKeepCount:
		return e.setKeepalive(option, value)
	case OptUserTimeout:
		return e.setUserTimeout(value)
	case OptMTUExpires:
		if value < 1 {
			return &tcpip.ErrInvalidOptionValue{}
		}
		e.stack.Link.Observer.SetMTUExpires(time.Duration(value) * time.Millisecond)
	case OptLinger:
		return e.setLinger(value)
	default:
		return &tcpip.ErrInvalidOptionValue{}
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
	case OptMinTTL:
		return int64(e.minTTL.Load()), nil
	case OptMaxSegment:
		return int64(e.maxSegment()), nil
	case OptSharePort:
		return truth(so.GetReusePort()), nil
	case OptKeepIdle, OptKeepInterval, OptKeepCount:
		return e.keepalive(option)
	case OptUserTimeout:
		return e.userTimeout()
	case OptMTUExpires:
		return e.stack.Link.Observer.MTUExpires().Milliseconds(), nil
	case OptLinger:
		return e.linger(), nil
	}
	return 0, &tcpip.ErrInvalidOptionValue{}
}

// largestPacket is the IP size that OptMaxSegment stands for; 0 where the link's counts.
func (e *Endpoint) largestPacket() uint32 {
	payload := e.maxPayload.Load()
	if payload == 0 {
		return 0
	}
	if e.key.Version == 4 {
		return payload + header.IPv4MinimumSize + header.TCPMinimumSize
	}
	return payload + header.IPv6MinimumSize + header.TCPMinimumSize
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
