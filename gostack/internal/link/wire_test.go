package link

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Several threads receive from one socket: what comes must reach the stack whole, once and in
// order, with only one of them injecting, and nothing may be received into what is injected.
func TestBatchesKeepTheirOrderWithManyReceivers(t *testing.T) {
	const frames, threads = 20000, 4
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	edge, err := New(1500, "", true, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	var receiver Receiver
	defer receiver.Release()
	var next, wrong atomic.Uint64
	var injecting atomic.Int32
	wire := NewWire(edge, &receiver, &Transmitter{}, func(_ []Mmsghdr, first, n int) {
		if injecting.Add(1) != 1 {
			wrong.Add(1)
		}
		for i := first; i < first+n; i++ {
			if binary.LittleEndian.Uint64(receiver.headers[i*VnetLen:]) != next.Add(1)-1 {
				wrong.Add(1)
			}
			runtime.Gosched() // others have time to write where they must not
		}
		injecting.Add(-1)
	})
	wire.Attach(fds[0], receiveBatch(32), make([]Mmsghdr, 1), new([TallySize]uint64))
	var done sync.WaitGroup
	for range threads {
		done.Go(func() {
			poll := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}
			for next.Load() < frames {
				_, _ = unix.Poll(poll, 10)
				if err := wire.Receive(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var number [VnetLen]byte
	for i := range uint64(frames) {
		binary.LittleEndian.PutUint64(number[:], i)
		if _, err := unix.Write(fds[1], number[:]); err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
	wire.Detach()
	if next.Load() != frames || wrong.Load() != 0 {
		t.Fatalf("%d of %d came, %d times not in turn", next.Load(), frames, wrong.Load())
	}
	if err := wire.Receive(); err != ErrDetached {
		t.Fatalf("after Detach: %v", err)
	}
}

func receiveBatch(n int) []Mmsghdr {
	batch := make([]Mmsghdr, n)
	for i := range batch {
		batch[i].Hdr.Iov = &make([]unix.Iovec, ReceiveIovecs)[0]
	}
	return batch
}
