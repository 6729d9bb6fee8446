package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzDecode feeds the reader rubbish. It never panics; each of its mistakes has a place
// that there is; what it takes it shows as what reads as the same.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "blackhole.yaml", "minimal.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Add(elaborate)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := decodeOnly(text)
		if err != nil {
			lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1 // to YAML both end a line
			mistakes, ok := errors.AsType[Errors](err)
			if !ok || len(mistakes) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			for _, e := range mistakes {
				if e.Line > lines || e.Line < 0 || e.Message == "" {
					t.Fatalf("%d lines: %+v", lines, e)
				}
			}
			return
		}
		if len(c.masked) > 0 {
			return // what is hidden cannot be read again
		}
		shown := c.Show()
		again, err := decodeOnly(shown)
		if err != nil {
			t.Fatalf("%v\nshown:\n%s", err, shown)
		}
		if got := again.Show(); got != shown {
			t.Fatalf("shown again:\n%s\nbefore:\n%s", got, shown)
		}
	})
}

// decodeOnly reads a text as if it were a file of which no other can be read.
func decodeOnly(text string) (*Config, error) {
	d := &decoder{file: "x", machine: testMachine(nil), masked: map[string]string{}, origins: map[string]pos{}}
	return d.decode(Source{Path: "/x/x.yaml"}, text)
}
