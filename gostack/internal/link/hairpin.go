package link

// hairpin recognises a packet of our own that came back in; the lock is held.
func (o *Observer) hairpin(key *FlowKey, p *parsed, mac []byte) bool {
	own := FlowKey{
		Protocol: key.Protocol, Version: key.Version,
		Local: key.Remote, Remote: key.Local,
		LocalPort: key.RemotePort, RemotePort: key.LocalPort,
	}
	r := o.flows[own]
	if r == nil {
		return false
	}
	r.Hairpins++
	r.HairpinTTL = p.ttl
	copy(r.HairpinMAC[:], mac)
	return true
}
