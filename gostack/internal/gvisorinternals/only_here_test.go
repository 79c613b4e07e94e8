package gvisorinternals

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var byName = regexp.MustCompile(`(?m)^//go:linkname|\bFieldByName\b|\bFieldByIndex\b|reflect\.NewAt`)

func TestInternalsAreUsedHereOnly(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || filepath.Base(filepath.Dir(path)) == "gvisorinternals" {
			return err
		}
		text, err := os.ReadFile(path)
		if found := byName.FindString(string(text)); found != "" {
			t.Errorf("%s: %s", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
