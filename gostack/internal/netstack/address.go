package netstack

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netkat/gostack/internal/link"
)

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: addressOf(a.Addr()), Port: a.Port()}
}

func addrPort(a tcpip.FullAddress) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(a.Addr.AsSlice())
	return netip.AddrPortFrom(ip, a.Port)
}

func flowKey(protocol uint8, local, remote netip.AddrPort) link.FlowKey {
	k := link.FlowKey{Protocol: protocol, Version: 4, LocalPort: local.Port(), RemotePort: remote.Port()}
	if local.Addr().Is6() {
		k.Version = 6
	}
	copy(k.Local[:], local.Addr().AsSlice())
	if remote.IsValid() {
		copy(k.Remote[:], remote.Addr().AsSlice())
	}
	return k
}

func keyLocal(k link.FlowKey) netip.AddrPort {
	if k.Version == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(k.Local[:4])), k.LocalPort)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(k.Local), k.LocalPort)
}

// Key names a flow by its two ends.
func Key(protocol uint8, local, remote netip.AddrPort) link.FlowKey {
	return flowKey(protocol, local, remote)
}
