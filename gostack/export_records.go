package main

/*
#include <gostack.h>
*/
import "C"

import (
	"errors"
	"unsafe"

	"netkat/gostack/internal/records"
)

//export gs_capture_records
func gs_capture_records(packets unsafe.Pointer, size C.uint64_t, count C.uint32_t, form C.int32_t, iface C.uint32_t, out unsafe.Pointer, room C.uint64_t) (result C.int64_t) {
	defer recovered(&result)
	n, err := records.Append(
		unsafe.Slice((*byte)(out), int(room)),
		unsafe.Slice((*byte)(packets), int(size)),
		uint32(count), records.Form(form), uint32(iface),
	)
	switch {
	case err == nil:
		return C.int64_t(n)
	case errors.Is(err, records.ErrRoom):
		return C.int64_t(eNoMemory)
	}
	return C.int64_t(eInvalid)
}
