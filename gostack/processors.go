package main

import (
	"os"
	"runtime"
)

// spareProcessors is how many of Go's processors there are beyond those of the machine.
const spareProcessors = 6

// A thread that comes back from this library to Python keeps its Go processor until the
// runtime's monitor takes it away, tens of microseconds later or more. With no more of
// them than the machine has, the next thread that calls in sleeps until then; a relay
// has four threads. GOMAXPROCS in the environment has the last word, as in every Go program.
func init() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + spareProcessors)
	}
}
