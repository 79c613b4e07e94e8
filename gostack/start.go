package main

import "time"

// The first timer makes Go's runtime open its epoll and an eventfd, and it aborts the process
// where it cannot. So that happens while the library is loaded, after netkat/stack/ffi.py's
// check that descriptors are free, and not in the middle of the host program's work.
func init() {
	time.AfterFunc(time.Hour, func() {}).Stop()
}
