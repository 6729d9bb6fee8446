package logstore

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func options(t *testing.T) Options {
	t.Helper()
	return Options{Dir: filepath.Join(t.TempDir(), "logs"), Service: "web", MaxSize: 1 << 20, MaxFiles: 8, Compress: true}
}

func openStore(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

var noon = time.Date(2020, 11, 23, 12, 0, 0, 0, time.UTC)

// lines returns entries from first to last, each a second after the one before.
func lines(first, last int) []Entry {
	var es []Entry
	for i := first; i <= last; i++ {
		es = append(es, Entry{
			Time: noon.Add(time.Duration(i) * time.Second), Service: "web", Stream: []string{"stdout", "stderr"}[i%2],
			Pid: 7, Seq: uint64(i), Line: fmt.Appendf(nil, "line %d", i),
		})
	}
	return es
}

func appendAll(t *testing.T, s *Store, es []Entry) {
	t.Helper()
	if err := s.Append(es); err != nil {
		t.Fatal(err)
	}
}

// readAll returns the messages that Read yields.
func readAll(t *testing.T, o Options, q Query) []string {
	t.Helper()
	var got []string
	if err := Read(t.Context(), o, q, func(e Entry) bool {
		got = append(got, string(e.Message))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// wantLines returns the messages of lines.
func wantLines(first, last int) []string {
	var want []string
	for _, e := range lines(first, last) {
		want = append(want, string(e.Line))
	}
	return want
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Name())
	}
	return got
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if b, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	return string(b)
}

func TestAppendAndReadBack(t *testing.T) {
	for _, raw := range []bool{false, true} {
		t.Run(fmt.Sprintf("raw=%v", raw), func(t *testing.T) {
			o := options(t)
			o.Raw = raw
			s := openStore(t, o)
			if got := s.LastSeq(); got != 0 {
				t.Errorf("LastSeq() = %d of an empty log", got)
			}
			appendAll(t, s, lines(1, 3))
			appendAll(t, s, nil)
			appendAll(t, s, lines(4, 5))
			closeStore(t, s)
			if err := s.Append(lines(6, 6)); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Append after Close = %v, want %v", err, os.ErrClosed)
			}
			s = openStore(t, o)
			if got := s.LastSeq(); got != 5 {
				t.Errorf("LastSeq() = %d after a new start, want 5", got)
			}
			appendAll(t, s, lines(6, 6))
			if diff := cmp.Diff(wantLines(1, 6), readAll(t, o, Query{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestReadReturnsWholeEntries(t *testing.T) {
	o := options(t)
	want := []Entry{
		{Stream: "stdout", Line: []byte("plain")},
		{Stream: "stderr", Line: []byte(`{"level":"warn","msg":"hot","c":91}`)},
		{Stream: "stdout", Line: []byte("nul\x00 and \xff\xfe")},
		{Stream: "stdout", Line: []byte("a part"), Partial: true},
		{Stream: "stdout", Line: []byte("")},
		{Stream: "stdout", Line: []byte("the end"), NoNewline: true},
	}
	for i := range want {
		want[i].Time, want[i].Service, want[i].Pid, want[i].Seq = noon, "web", 7, uint64(i+1)
	}
	appendAll(t, openStore(t, o), want)
	for i := range want { // what the file does not keep
		want[i].Line, want[i].NoNewline = nil, false
		want[i].Message = append([]byte{}, want[i].Message...)
	}
	var got []Entry
	if err := Read(t.Context(), o, Query{}, func(e Entry) bool { got = append(got, e); return true }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRawIsByteExact(t *testing.T) {
	o := options(t)
	o.Raw = true
	s := openStore(t, o)
	appendAll(t, s, []Entry{
		{Seq: 1, Line: []byte("a\r")},
		{Seq: 2, Line: []byte("\xff\x00")},
		{Seq: 3, Line: nil},
		{Seq: 4, Line: []byte(`{"msg":"x"}`)},
		{Seq: 5, Line: []byte("begin "), Partial: true},
		{Seq: 6, Line: []byte("end")},
		{Seq: 7, Line: []byte("last"), NoNewline: true},
	})
	const want = "a\r\n\xff\x00\n\n{\"msg\":\"x\"}\nbegin end\nlast"
	if got := contents(t, o.path()); got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
	var got []Entry
	if err := Read(t.Context(), o, Query{Tail: new(2)}, func(e Entry) bool { got = append(got, e); return true }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(o.path())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry{
		{Time: info.ModTime(), Service: "web", Line: []byte("begin end"), Message: []byte("begin end")},
		{Time: info.ModTime(), Service: "web", Line: []byte("last"), Message: []byte("last"), NoNewline: true},
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := Read(t.Context(), o, Query{Stream: "stderr"}, nil); !errors.Is(err, ErrNoStreams) {
		t.Errorf("Read of a stream = %v, want %v", err, ErrNoStreams)
	}
	// The format may change; numbers go on, and old lines are still readable.
	closeStore(t, s)
	o.Raw = false
	s = openStore(t, o)
	if got := s.LastSeq(); got != 7 {
		t.Errorf("LastSeq() = %d, want 7", got)
	}
	appendAll(t, s, lines(8, 8))
	if diff := cmp.Diff([]string{"last", "line 8"}, readAll(t, o, Query{Tail: new(2)})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	closeStore(t, s)
	o.Raw = true
	if err := os.WriteFile(o.seqPath(), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := openStore(t, o).LastSeq(); got != 8 {
		t.Errorf("LastSeq() = %d without a .seq file, want 8", got)
	}
}

func TestModes(t *testing.T) {
	o := options(t)
	appendAll(t, openStore(t, o), lines(1, 1))
	for path, want := range map[string]os.FileMode{o.Dir: 0o700, o.path(): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(path), got, want)
		}
	}
}

// 50 MiB without a newline come back whole, in parts.
func TestVeryLongLine(t *testing.T) {
	const part, parts = 1 << 20, 50
	for _, raw := range []bool{false, true} {
		t.Run(fmt.Sprintf("raw=%v", raw), func(t *testing.T) {
			o := options(t)
			o.Raw, o.MaxSize, o.MaxFiles = raw, 4<<20, 100
			s := openStore(t, o)
			text := bytes.Repeat([]byte("0123456789abcde\x01"), part/16)
			for i := range parts {
				appendAll(t, s, []Entry{{Time: noon, Seq: uint64(i + 1), Line: text, Partial: i < parts-1}})
			}
			appendAll(t, s, lines(parts+1, parts+1))
			size, whole := 0, true
			var last Entry
			if err := Read(t.Context(), o, Query{}, func(e Entry) bool {
				if e.Seq <= parts && string(e.Message) != "line 51" {
					size += len(e.Message)
					whole = whole && bytes.Count(e.Message, text[:16]) == len(e.Message)/16 && e.Partial == (!raw && e.Seq < parts)
				}
				last = e
				return true
			}); err != nil {
				t.Fatal(err)
			}
			if size != part*parts || !whole || string(last.Message) != "line 51" {
				t.Errorf("%d bytes (whole: %v), then %q; want %d, then line 51", size, whole, last.Message, part*parts)
			}
			if diff := cmp.Diff([]string{"line 51"}, readAll(t, o, Query{Tail: new(1)})); diff != "" {
				t.Errorf("tail (-want +got)\n%s", diff)
			}
			closeStore(t, s)
			if got := openStore(t, o).LastSeq(); got != parts+1 {
				t.Errorf("LastSeq() = %d, want %d", got, parts+1)
			}
		})
	}
}
