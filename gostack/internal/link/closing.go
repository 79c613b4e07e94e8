package link

// closingKept bounds the connections whose last segments still leave after their endpoint was
// closed: gVisor sends a FIN again for as long as the stack lives.
const closingKept = 4096

// closing are records of closed connections, kept for the path that their packets take.
type closing struct {
	records map[FlowKey]*record
	order   []FlowKey
}

func (c *closing) add(key FlowKey, r *record) {
	if c.records == nil {
		c.records = make(map[FlowKey]*record)
	}
	c.remove(key)
	if len(c.order) == closingKept {
		c.remove(c.order[0])
		c.order = c.order[1:]
	}
	c.records[key] = r
	c.order = append(c.order, key)
}

func (c *closing) find(key *FlowKey) *record { return c.records[*key] }

func (c *closing) remove(key FlowKey) {
	r := c.records[key]
	if r == nil {
		return
	}
	r.end(key)
	delete(c.records, key)
}
