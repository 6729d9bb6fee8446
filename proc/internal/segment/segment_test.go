package segment

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestLinesBackward(t *testing.T) {
	type line struct {
		Text   string
		Offset int64
		Open   bool
	}
	tests := map[string][]line{
		"":           nil,
		"\n":         {{"", 0, false}},
		"a":          {{"a", 0, true}},
		"a\n":        {{"a", 0, false}},
		"a\nbc\n":    {{"bc", 2, false}, {"a", 0, false}},
		"a\n\n\nbc":  {{"bc", 4, true}, {"", 3, false}, {"", 2, false}, {"a", 0, false}},
		"\na\x00\n ": {{" ", 4, true}, {"a\x00", 1, false}, {"", 0, false}},
	}
	for text, want := range tests {
		var got []line
		err := LinesBackward(strings.NewReader(text), int64(len(text)), func(l Line) bool {
			got = append(got, line{string(l.Data), l.Offset, l.Open})
			return true
		})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got)\n%s", text, err, diff)
		}
	}
}

func TestLinesBackwardIsForwardReversed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 10, block - 1, block, block + 1, 3 * block}), 0, 12).Draw(t, "lengths")
		var text []byte
		for i, n := range lengths {
			text = append(append(text, bytes.Repeat([]byte{'a' + byte(i)}, n)...), '\n')
		}
		if rapid.Bool().Draw(t, "open") {
			text = append(text, "open"...)
		}
		var want []string
		for l := range bytes.Lines(text) {
			want = append(want, strings.TrimSuffix(string(l), "\n"))
		}
		var got []string
		if err := LinesBackward(bytes.NewReader(text), int64(len(text)), func(l Line) bool {
			got = append(got, string(l.Data))
			if !bytes.HasPrefix(text[l.Offset:], l.Data) {
				t.Fatalf("line %d is not at %d", len(got), l.Offset)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%d lines of lengths %v, want %d", len(got), lengths, len(want))
		}
	})
}

func TestLinesBackwardReadsNoMoreThanNeeded(t *testing.T) {
	r := &countingReader{r: strings.NewReader(strings.Repeat("line\n", 1<<20))}
	if err := LinesBackward(r, 5<<20, func(Line) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if r.n > block {
		t.Errorf("read %d bytes for one line, want at most %d", r.n, block)
	}
	r.err = errors.New("gone")
	if err := LinesBackward(r, 5<<20, func(Line) bool { return true }); !errors.Is(err, r.err) {
		t.Errorf("got %v, want %v", err, r.err)
	}
}

type countingReader struct {
	r   *strings.Reader
	n   int
	err error
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	c.n += len(p)
	return c.r.ReadAt(p, off)
}

// tree returns the files of dir with what they hold.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name()] = string(b)
	}
	return got
}

func TestShiftAndPrune(t *testing.T) {
	tests := map[string]struct {
		have, want map[string]string
		do         func(base string) error
	}{
		"shift": {
			have: map[string]string{"x": "0", "x.1": "1", "x.2.gz": "2", "x.3.gz": "3", "y.1": "other"},
			want: map[string]string{"x.1": "0", "x.2": "1", "x.3.gz": "2", "y.1": "other"},
			do:   func(base string) error { return Shift(base, 4) },
		},
		"shift keeps one": {
			have: map[string]string{"x": "0", "x.1": "1"},
			want: map[string]string{},
			do:   func(base string) error { return Shift(base, 1) },
		},
		"shift goes on after a crash": {
			have: map[string]string{"x": "0", "x.2": "1", "x.3": "2"},
			want: map[string]string{"x.1": "0", "x.2": "1", "x.3": "2"},
			do:   func(base string) error { return Shift(base, 4) },
		},
		"prune": {
			have: map[string]string{"x": "0", "x.1": "1", "x.2.gz": "2", "x.3": "3"},
			want: map[string]string{"x": "0", "x.1": "1"},
			do:   func(base string) error { return Prune(base, 2) },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, text := range tt.have {
				if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.do(filepath.Join(dir, "x")); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tree(t, dir)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestShiftAndPruneSayWhatTheyCannot(t *testing.T) {
	base := filepath.Join(t.TempDir(), "x")
	if err := os.MkdirAll(filepath.Join(base+".1", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Shift(base, 2); err == nil {
		t.Error("Shift removed a directory with something in it")
	}
	if err := Prune(base, 1); err == nil {
		t.Error("Prune removed a directory with something in it")
	}
}
