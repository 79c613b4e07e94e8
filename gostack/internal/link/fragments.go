package link

import (
	"encoding/binary"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// fragmentedKept bounds the datagrams that are remembered while their fragments leave.
const fragmentedKept = 64

// fragments remembers where the first fragments of datagrams went: the later ones name no ports.
type fragments struct {
	mu    sync.Mutex
	known map[fragmentKey]next
	order []fragmentKey
}

type fragmentKey struct {
	ends   [32]byte
	number uint32
}

func fragmentOf(pkt *stack.PacketBuffer) (key fragmentKey, ok bool) {
	if !isFragment(pkt) {
		return key, false
	}
	h := pkt.NetworkHeader().Slice()
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		copy(key.ends[:], h[12:20])
		key.number = uint32(binary.BigEndian.Uint16(h[4:]))
	} else {
		copy(key.ends[:], h[8:40])
		key.number = binary.BigEndian.Uint32(h[len(h)-4:])
	}
	return key, true
}

func (f *fragments) find(key fragmentKey) (next, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.known[key]
	return n, ok
}

func (f *fragments) remember(key fragmentKey, n next) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = make(map[fragmentKey]next)
	}
	if _, known := f.known[key]; !known {
		if len(f.order) == fragmentedKept {
			delete(f.known, f.order[0])
			f.order = f.order[1:]
		}
		f.order = append(f.order, key)
	}
	f.known[key] = n
}
