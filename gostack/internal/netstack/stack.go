// Package netstack assembles gVisor's TCP/IP stack on one link, and the endpoints on it.
package netstack

import (
	"errors"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"netkat/gostack/internal/link"
)

const nic tcpip.NICID = 1

// Stack is one TCP/IP stack on one link.
type Stack struct {
	Link *link.Endpoint
	Rx   link.Receiver
	Tx   link.Transmitter

	// BridgesFD is an eventfd that is written when a bridge has ended.
	BridgesFD int

	stack *stack.Stack
	clock *clock
	tcp   *inlineTCP
	wire  *link.Wire
	pump  *pump

	mu        sync.Mutex
	endpoints map[*Endpoint]struct{}
	defaults  map[uint32]int64 // options of endpoints to come
	closed    bool
}

// New makes a stack that says nothing of its own accord: no duplicate address
// detection, no router solicitations, no multicast reports, no answers to packets
// that belong to none of its endpoints. The host owns the address and does all that.
func New(mtu uint32, mac []byte, gso bool) (*Stack, error) {
	hardware := tcpip.LinkAddress(mac)
	made := &Stack{endpoints: make(map[*Endpoint]struct{}), defaults: make(map[uint32]int64)}
	l, err := link.New(mtu, hardware, gso, made.roomAgain)
	if err != nil {
		return nil, err
	}
	made.clock = &clock{Clock: tcpip.NewStdClock(), attend: made.attend}
	s := stack.New(stack.Options{
		Clock: made.clock,
		NetworkProtocols: []stack.NetworkProtocolFactory{
			arp.NewProtocol,
			ipv4.NewProtocolWithOptions(ipv4.Options{IGMP: ipv4.IGMPOptions{Enabled: false}}),
			ipv6.NewProtocolWithOptions(ipv6.Options{
				NDPConfigs: ipv6.NDPConfigurations{HandleRAs: ipv6.HandlingRAsDisabled},
				MLD:        ipv6.MLDOptions{Enabled: false},
				DADConfigs: stack.DADConfigurations{DupAddrDetectTransmits: 0},
			}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{made.newTCP, udp.NewProtocol},
		NUDConfigs:         nud(),
		NUDDisp:            neighbors{made},
	})
	silent := func(stack.TransportEndpointID, *stack.PacketBuffer) bool { return true }
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, silent)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, silent)
	if e := tune(s); e != nil {
		return nil, errors.New(e.String())
	}
	made.Link, made.stack = l, s
	l.ResolveBy(neighbors{made})
	if len(mac) == 0 {
		err = made.attachLink(l)
	} else {
		edge := newEthernetLink(l)
		err = made.attachLink(edge)
		edge.attached.Store(true)
	}
	if err != nil {
		return nil, err
	}
	if made.BridgesFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		l.Close()
		return nil, os.NewSyscallError("eventfd2", err)
	}
	made.wire = link.NewWire(l, &made.Rx, &made.Tx, made.inject)
	made.pump = newPump(made.wire, l)
	return made, nil
}

// attachLink makes the stack's interface, on which every address is reached: by which next hop,
// the edge decides.
func (s *Stack) attachLink(edge stack.LinkEndpoint) error {
	if err := s.stack.CreateNIC(nic, edge); err != nil {
		return errors.New(err.String())
	}
	for _, all := range []tcpip.Subnet{header.IPv4EmptySubnet, header.IPv6EmptySubnet} {
		s.stack.AddRoute(tcpip.Route{Destination: all, NIC: nic})
	}
	return nil
}

func (s *Stack) newTCP(gvisor *stack.Stack) stack.TransportProtocol {
	s.tcp = newInlineTCP(gvisor)
	return s.tcp
}

// Inject hands the stack n frames of the armed batch, from the entry first on, and does the
// work of them.
func (s *Stack) Inject(batch []link.Mmsghdr, first, n int) {
	s.inject(func() { s.Rx.Inject(batch, first, n) })
}

func (s *Stack) inject(deliver func()) {
	s.tcp.begin()
	deliver()
	s.tcp.finish()
}

// AddAddress gives the stack an address, alone in its prefix. assigned: the kernel has it on this
// interface, and the stack answers for it where the kernel is kept from doing so.
func (s *Stack) AddAddress(a netip.Addr, assigned bool) tcpip.Error {
	s.Link.Assign(a, assigned)
	return s.addAddress(a)
}

// RemoveAddress takes an address away: nothing is sent from it and received for it until it is
// added again. Endpoints on it stay open.
func (s *Stack) RemoveAddress(a netip.Addr) tcpip.Error {
	s.Link.Assign(a, false)
	err := s.stack.RemoveAddress(nic, addressOf(a))
	if _, gone := err.(*tcpip.ErrBadLocalAddress); gone {
		return nil
	}
	return err
}

func (s *Stack) addAddress(a netip.Addr) tcpip.Error {
	err := s.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          protocolOf(a),
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: addressOf(a), PrefixLen: a.BitLen()},
	}, stack.AddressProperties{})
	if _, dup := err.(*tcpip.ErrDuplicateAddress); dup {
		return nil
	}
	return err
}

// ClaimAddress gives the stack an address that the host's kernel does not have: who asks
// for its MAC is answered by the stack.
func (s *Stack) ClaimAddress(a netip.Addr) tcpip.Error {
	s.Link.Observer.Claim(a)
	return s.addAddress(a)
}

// leaving is whether packets may still wait here: for a next hop's MAC, or to be drained.
// It looks in the order in which packets move, so that none slips past.
func (s *Stack) leaving() bool {
	return s.Link.Hops().Holding() || s.clock.busy() || s.Link.Queued() > 0
}

// Stats is gVisor's own.
func (s *Stack) Stats() tcpip.Stats { return s.stack.Stats() }

// Endpoints counts the open ones.
func (s *Stack) Endpoints() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.endpoints)
}

// Close ends every endpoint at once. What is queued, and what gVisor would still say,
// is dropped: who drains no more cannot send it. gVisor's goroutines end in the
// background, since nothing here may wait.
func (s *Stack) Close() {
	open, first := s.beginClose()
	if !first {
		return
	}
	s.Detach()
	s.Link.Close()
	for _, e := range open {
		e.ep.Abort()
		e.Close()
	}
	s.stack.Close()
	s.Tx.Release()
	s.Rx.Release()
	_ = unix.Close(s.BridgesFD)
	go s.stack.Wait()
}

func (s *Stack) bridgeEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_, _ = unix.Write(s.BridgesFD, one)
	}
}

func (s *Stack) beginClose() (open []*Endpoint, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.closed = true
	return s.openEndpoints(), true
}

// openEndpoints must be called with the lock held.
func (s *Stack) openEndpoints() []*Endpoint {
	open := make([]*Endpoint, 0, len(s.endpoints))
	for e := range s.endpoints {
		open = append(open, e)
	}
	return open
}

// roomAgain wakes the senders of datagrams that waited for room in the link's queue.
func (s *Stack) roomAgain() {
	s.mu.Lock()
	open := s.openEndpoints()
	s.mu.Unlock()
	for _, e := range open {
		if !e.tcp {
			e.writable.raise()
		}
	}
}

func (s *Stack) adopt(e *Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints[e] = struct{}{}
}

func (s *Stack) release(e *Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.endpoints, e)
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}

func addressOf(a netip.Addr) tcpip.Address {
	return tcpip.AddrFromSlice(a.AsSlice())
}
