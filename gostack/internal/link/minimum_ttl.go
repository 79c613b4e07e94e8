package link

// RequireTTL has the stack not see packets with a lower TTL (RFC 5082): those of a watched
// flow or, where the key names no peer, all that are for its address and port.
func (o *Observer) RequireTTL(key FlowKey, ttl uint8) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case key.RemotePort != 0:
		if r := o.flows[key]; r != nil {
			r.minTTL = ttl
		}
	case ttl != 0:
		o.required[key] = ttl
	default:
		delete(o.required, key)
	}
}

// requiredFor is what the listener that a packet is for asks of its TTL.
func (o *Observer) requiredFor(key *FlowKey) uint8 {
	if len(o.required) == 0 {
		return 0
	}
	listener := *key
	listener.Remote, listener.RemotePort = [16]byte{}, 0
	return o.required[listener]
}

// tooFar counts what has come over more routers than its flow allows.
func (r *record) tooFar(ttl uint8) bool {
	if ttl >= r.minTTL {
		return false
	}
	r.FarFrames++
	r.FarTTL = ttl
	return true
}
