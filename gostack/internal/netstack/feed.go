package netstack

// doze is for how many milliseconds at most the resident leaves to who feeds it when it looks
// for what has come: that one may be held up, by a disk say.
const doze = 20

// feed says that this thread fills the queue while the resident sends from it. The resident is
// woken for so many frames then, and not for each acknowledgement, which it finds when it is: a
// thread's wake-up costs more than what there is to do about one. Nobody else receives.
func (p *pump) feed() {
	if p.fed.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.resident == nil {
		return
	}
	_ = p.arm(p.leader, false)
	p.leader = nil
	_ = p.arm(p.resident, true)
	p.fed.Store(true)
}

// pause says that no more is fed for now: the resident looks after what comes by itself.
func (p *pump) pause() {
	if p.fed.Swap(false) {
		p.edge.Rouse()
	}
}
