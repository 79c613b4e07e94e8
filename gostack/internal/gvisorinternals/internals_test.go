package gvisorinternals

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
)

const (
	here       = "netkat/gostack/internal/gvisorinternals"
	tcpPath    = "gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	bufferPath = "gvisor.dev/gvisor/pkg/buffer"
)

// source type-checks packages from their source, of gVisor's version in go.mod.
var source = sync.OnceValue(func() types.Importer {
	build.Default.CgoEnabled = false
	return importer.ForCompiler(token.NewFileSet(), "source", nil)
})

func checked(t *testing.T, path string) *types.Package {
	t.Helper()
	p, err := source().Import(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// linknames are the functions without a body, by name: package path and name of what each is.
func linknames(t *testing.T) map[string][2]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "internals.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][2]string{}
	for _, group := range file.Comments {
		for _, line := range group.List {
			words := strings.Fields(line.Text)
			if len(words) == 3 && words[0] == "//go:linkname" {
				slash := strings.LastIndex(words[2], "/")
				dot := slash + strings.Index(words[2][slash:], ".")
				found[words[1]] = [2]string{words[2][:dot], words[2][dot+1:]}
			}
		}
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body == nil && found[f.Name.Name] == [2]string{} {
			t.Errorf("%s has no body and no linkname", f.Name.Name)
		}
	}
	return found
}

func TestSignatures(t *testing.T) {
	mine := checked(t, here)
	names := linknames(t)
	if len(names) == 0 {
		t.Fatal("no linkname was found")
	}
	for local, target := range names {
		want := signatureOf(checked(t, target[0]), target[1])
		if want == nil {
			t.Errorf("gVisor has no %s.%s", target[0], target[1])
			continue
		}
		got := signatureOf(mine, local)
		if message := differ(want, got); message != "" {
			t.Errorf("%s: %s", local, message)
		}
	}
}

// signature is a receiver, the parameters and the results.
type signature struct{ in, out []types.Type }

// signatureOf reads "name" and "(*Type).name"; nil where there is none.
func signatureOf(p *types.Package, name string) *signature {
	object := p.Scope().Lookup(name)
	s := &signature{}
	if receiver, method, ok := strings.Cut(strings.TrimPrefix(name, "(*"), ")."); ok {
		if object = p.Scope().Lookup(receiver); object == nil {
			return nil
		}
		pointer := types.NewPointer(object.Type())
		object, _, _ = types.LookupFieldOrMethod(pointer, false, p, method)
		s.in = append(s.in, pointer)
	}
	f, ok := object.(*types.Func)
	if !ok {
		return nil
	}
	signature := f.Signature()
	for i := range signature.Params().Len() {
		s.in = append(s.in, signature.Params().At(i).Type())
	}
	for i := range signature.Results().Len() {
		s.out = append(s.out, signature.Results().At(i).Type())
	}
	return s
}

func differ(want, got *signature) string {
	if len(want.in) != len(got.in) || len(want.out) != len(got.out) {
		return fmt.Sprintf("gVisor's is %v, not %v", want, got)
	}
	for i, w := range append(append([]types.Type(nil), want.in...), want.out...) {
		g := append(append([]types.Type(nil), got.in...), got.out...)[i]
		if !fits(w, g) {
			return fmt.Sprintf("gVisor's is %v where it is %v here", w, g)
		}
	}
	return ""
}

// fits allows unsafe.Pointer for a pointer to a type that is not exported.
func fits(want, got types.Type) bool {
	if types.Identical(want, got) {
		return true
	}
	pointer, ok := want.(*types.Pointer)
	if !ok || got != types.Typ[types.UnsafePointer] {
		return false
	}
	named, ok := pointer.Elem().(*types.Named)
	return ok && !named.Obj().Exported()
}

func TestViewLayout(t *testing.T) {
	if !viewIsKnown {
		t.Error("ViewOver is off")
	}
	sizes := types.SizesFor("gc", runtime.GOARCH)
	mine, theirs := checked(t, here), checked(t, bufferPath)
	for local, name := range map[string]string{"viewLayout": "View", "chunkLayout": "chunk"} {
		want := leaves(sizes, theirs.Scope().Lookup(name).Type(), 0)
		got := leaves(sizes, mine.Scope().Lookup(local).Type(), 0)
		if !reflect.DeepEqual(want, got) {
			t.Errorf("gVisor's %s is %v, not %v", name, want, got)
		}
	}
	view := theirs.Scope().Lookup("View").Type().Underlying().(*types.Struct)
	names := make([]string, view.NumFields())
	for i := range names {
		names[i] = view.Field(i).Name()
	}
	if got := strings.Join(names, " "); got != "ViewEntry read write chunk" {
		t.Errorf("the fields of a View are %s", got)
	}
}

// leaves are the fields of a struct that are none themselves: kind, offset and size of each.
func leaves(sizes types.Sizes, of types.Type, at int64) (found []string) {
	s, ok := of.Underlying().(*types.Struct)
	if !ok {
		kind := fmt.Sprintf("%T", of.Underlying())
		if basic, ok := of.Underlying().(*types.Basic); ok {
			kind = basic.Name()
		}
		return []string{fmt.Sprintf("%s at %d (%d)", kind, at, sizes.Sizeof(of))}
	}
	fields := make([]*types.Var, s.NumFields())
	for i := range fields {
		fields[i] = s.Field(i)
	}
	for i, offset := range sizes.Offsetsof(fields) {
		found = append(found, leaves(sizes, fields[i].Type(), at+offset)...)
	}
	return found
}

func TestFields(t *testing.T) {
	if !CanQueue() {
		t.Error("fields are missing: there is no Queue and no SenderOf")
	}
	p := checked(t, tcpPath)
	for path, want := range map[string]string{
		"Endpoint.snd":            "*tcp.sender",
		"sender.writeList":        "tcp.protectedWriteList",
		"sender.TCPSenderState":   "tcp.TCPSenderState",
		"sender.cc":               "tcp.congestionControl",
		"sender.rtt":              "tcp.rtt",
		"rtt.TCPRTTState":         "tcp.TCPRTTState",
		"Endpoint.scoreboard":     "*tcp.SACKScoreboard",
		"SACKScoreboard.smss":     "uint16",
		"protectedWriteList.set":  "map[*tcp.segment]struct{}",
		"Endpoint.sndQueueInfo":   "tcp.sndQueueInfo",
		"TCPSenderState.SndCwnd":  "int",
		"TCPSenderState.Ssthresh": "int",
	} {
		in, name, _ := strings.Cut(path, ".")
		object, _, _ := types.LookupFieldOrMethod(p.Scope().Lookup(in).Type(), true, p, name)
		if object == nil {
			t.Errorf("gVisor has no %s", path)
			continue
		}
		if got := types.TypeString(object.Type(), (*types.Package).Name); got != want {
			t.Errorf("gVisor's %s is %s, not %s", path, got, want)
		}
	}
}

// What a congestion control is asked for: another method would be missing in netkat's.
func TestCongestionControl(t *testing.T) {
	p := checked(t, tcpPath)
	control := p.Scope().Lookup("congestionControl").Type().Underlying().(*types.Interface)
	names := make([]string, control.NumMethods())
	for i := range names {
		m := control.Method(i)
		names[i] = m.Name() + strings.TrimPrefix(types.TypeString(m.Type(), (*types.Package).Name), "func")
	}
	const want = "HandleLossDetected(),HandleRTOExpired(),PostRecovery(),Update(packetsAcked int, rtt time.Duration, ackTime tcpip.MonotonicTime)"
	if got := strings.Join(names, ","); got != want {
		t.Errorf("gVisor asks a congestion control for %s, not %s", got, want)
	}
}

func TestViewOverOtherMemory(t *testing.T) {
	memory := make([]byte, 2*buffer.MaxChunkSize)
	copy(memory, "other memory")
	v := ViewOver(memory)
	if SharesChunk(v) || &v.AsSlice()[0] != &memory[0] || v.Size() != len(memory) {
		t.Fatalf("a view of %d bytes", v.Size())
	}
	clone := v.Clone()
	if !SharesChunk(v) {
		t.Fatal("two views are of the same memory")
	}
	clone.Release()
	if SharesChunk(v) {
		t.Fatal("the other was released")
	}
	v.Release()
	if ViewOver(make([]byte, buffer.MaxChunkSize)) != nil {
		t.Error("gVisor would keep this memory in a pool")
	}
}
