package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

func TestAPanicIsACode(t *testing.T) {
	call := func() (result int32) {
		defer recovered(&result)
		panic("no such thing")
	}
	if got := call(); got != ePanic {
		t.Fatalf("%d, not %d", got, ePanic)
	}
	text := make([]byte, 1<<16)
	n := panicText(text)
	if got := string(text[:min(n, len(text))]); !strings.HasPrefix(got, "no such thing\n") || !strings.Contains(got, "TestAPanicIsACode") {
		t.Errorf("the text is %q", got)
	}
	if again := panicText(text[:4]); again != n {
		t.Errorf("%d bytes of text, not %d", again, n)
	}
}

func TestACallThatReturnsHasItsOwnResult(t *testing.T) {
	call := func() (result int64) {
		defer recovered(&result)
		return 7
	}
	if got := call(); got != 7 {
		t.Errorf("%d", got)
	}
}

// These return without a call that could panic, or are what is called after a panic.
var cannotPanic = map[string]bool{"gs_abi": true, "gs_live_handles": true, "gs_last_panic": true}

func TestEveryExportedCallRecovers(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	exported := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "gs_") || cannotPanic[f.Name.Name] {
				continue
			}
			exported++
			if !defersRecovered(f) {
				t.Errorf("%s: %s does not begin with defer recovered(&result)", name, f.Name.Name)
			}
		}
	}
	if exported == 0 {
		t.Error("no exported call was found")
	}
}

func defersRecovered(f *ast.FuncDecl) bool {
	if len(f.Body.List) == 0 {
		return false
	}
	first, ok := f.Body.List[0].(*ast.DeferStmt)
	if !ok || len(first.Call.Args) != 1 {
		return false
	}
	called, ok := first.Call.Fun.(*ast.Ident)
	address, isAddress := first.Call.Args[0].(*ast.UnaryExpr)
	if !ok || !isAddress || called.Name != "recovered" || len(f.Type.Results.List[0].Names) != 1 {
		return false
	}
	argument, ok := address.X.(*ast.Ident)
	return ok && argument.Name == f.Type.Results.List[0].Names[0].Name
}
