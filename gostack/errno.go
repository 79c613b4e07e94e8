package main

import (
	"gvisor.dev/gvisor/pkg/tcpip"

	"netkat/gostack/internal/netstack"
)

// The GS_E codes of gostack.h, as plain numbers: cgo is not to be had in tests.
const (
	eAgain     int32 = -1
	eBadHandle int32 = -2
	eInvalid   int32 = -3
	eRefused   int32 = -4
	eReset     int32 = -5
	eTimeout   int32 = -6
	eUnreach   int32 = -7
	eNextHop   int32 = -8
	ePipe      int32 = -9
	eMsgSize   int32 = -10
	eInUse     int32 = -11
	eNotConn   int32 = -12
	eNoMemory  int32 = -13
	eFault     int32 = -14
	eDetached  int32 = -15
	ePanic     int32 = -16
)

// wireFailed less an errno is what became of the packet socket (GS_WIRE).
const wireFailed = -1000

// localFailed less an errno is what became of a system call for the library itself (GS_LOCAL).
const localFailed = -3000

// sourceFailed less an errno is what became of a descriptor to read from (GS_SOURCE).
const sourceFailed = -2000

// code is the one table from gVisor's errors to the ABI's.
func code(err tcpip.Error) int32 {
	switch err.(type) {
	case nil:
		return 0
	case *tcpip.ErrWouldBlock, *tcpip.ErrConnectStarted, *tcpip.ErrAlreadyConnecting:
		return eAgain
	case *tcpip.ErrConnectionRefused:
		return eRefused
	case *tcpip.ErrConnectionReset, *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return eReset
	case *netstack.NextHopSilent:
		return eNextHop
	case *tcpip.ErrTimeout:
		return eTimeout
	case *tcpip.ErrHostUnreachable, *tcpip.ErrNetworkUnreachable, *tcpip.ErrHostDown,
		*tcpip.ErrNoNet, *tcpip.ErrUnknownProtocolOption:
		return eUnreach
	case *tcpip.ErrClosedForSend:
		return ePipe
	case *tcpip.ErrMessageTooLong:
		return eMsgSize
	case *tcpip.ErrPortInUse, *tcpip.ErrDuplicateAddress:
		return eInUse
	case *tcpip.ErrNotConnected, *tcpip.ErrDestinationRequired:
		return eNotConn
	case *tcpip.ErrNoBufferSpace, *tcpip.ErrNoPortAvailable:
		return eNoMemory
	case *tcpip.ErrInvalidEndpointState, *tcpip.ErrInvalidOptionValue, *tcpip.ErrBadAddress,
		*tcpip.ErrBadLocalAddress, *tcpip.ErrAddressFamilyNotSupported, *tcpip.ErrNotSupported:
		return eInvalid
	}
	return eFault
}
