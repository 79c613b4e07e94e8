package main

import "gvisor.dev/gvisor/pkg/log"

// gVisor writes what it thinks of a packet (a martian, a malformed option) to stderr, which
// is the host program's: whoever can send us a packet could write there. Its packages have
// made loggers out of this very one by now, so SetTarget, which makes another, is too late.
func init() {
	log.Log().Emitter = &log.MultiEmitter{}
}
