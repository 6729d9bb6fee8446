package logstore

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	openStore(t, o)
	for path, want := range map[string]os.FileMode{o.Dir: 0o750, o.path(): 0o640} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(path), got, want)
		}
	}
}

func TestRotation(t *testing.T) {
	tests := map[string]struct {
		maxFiles int
		compress bool
		want     []string
		first    int // line that is still there
	}{
		"compressed":   {4, true, []string{"web.log", "web.log.1", "web.log.2.gz", "web.log.3.gz"}, 7},
		"uncompressed": {3, false, []string{"web.log", "web.log.1", "web.log.2"}, 8},
		"two files":    {2, true, []string{"web.log", "web.log.1"}, 9},
		"one file":     {1, true, []string{"web.log"}, 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.MaxSize, o.MaxFiles, o.Compress = 10, tt.maxFiles, tt.compress
			s := openStore(t, o)
			for i := 1; i <= 10; i++ {
				appendAll(t, s, lines(i, i))
			}
			closeStore(t, s)
			closeStore(t, openStore(t, o)) // compresses what the first could not
			awaitGzip(t, o)
			if diff := cmp.Diff(tt.want, names(t, o.Dir)); diff != "" {
				t.Errorf("files (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(wantLines(tt.first, 10), readAll(t, o, Query{})); diff != "" {
				t.Errorf("lines (-want +got)\n%s", diff)
			}
		})
	}
}

// awaitGzip opens and closes the store until nothing is left to be compressed.
func awaitGzip(t *testing.T, o Options) {
	t.Helper()
	s := openStore(t, o)
	for o.Compress && s.uncompressed() > 0 {
		s.background.Wait()
		s.names.Lock()
		s.compress()
		s.names.Unlock()
	}
	closeStore(t, s)
}

// Two writers flood a log that rotates and compresses all the time, a reader follows:
// no line is lost, doubled or out of order, and at each moment what is read is without holes.
func TestRotationUnderLoad(t *testing.T) {
	for _, raw := range []bool{false, true} {
		t.Run(fmt.Sprintf("raw=%v", raw), func(t *testing.T) {
			o := options(t)
			o.Raw, o.MaxSize, o.MaxFiles = raw, 32<<10, 1000
			if raw {
				o.MaxSize = 4 << 10
			}
			const total, streams = 8_000, 2
			s := openStore(t, o)
			var mu sync.Mutex
			var seq uint64
			var writers, reader sync.WaitGroup
			for stream := range streams {
				writers.Go(func() {
					r := rand.New(rand.NewPCG(1, uint64(stream)))
					for n := 1; n <= total; {
						batch := make([]Entry, min(1+r.IntN(200), total-n+1))
						mu.Lock()
						for i := range batch {
							seq++
							batch[i] = Entry{Time: noon, Service: "web", Stream: "stdout", Seq: seq, Line: fmt.Appendf(nil, "%d %d", stream, n)}
							n++
						}
						err := s.Append(batch)
						mu.Unlock()
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			stop := make(chan struct{})
			reader.Go(func() {
				for {
					checkNumbers(t, o, streams)
					select {
					case <-stop:
						return
					default:
					}
				}
			})
			writers.Wait()
			close(stop)
			reader.Wait()
			closeStore(t, s)
			for stream, n := range checkNumbers(t, o, streams) {
				if n != total {
					t.Errorf("stream %d has %d lines, want %d", stream, n, total)
				}
			}
			if got := openStore(t, o).LastSeq(); got != streams*total {
				t.Errorf("LastSeq() = %d, want %d", got, streams*total)
			}
		})
	}
}

// checkNumbers reads "stream number" lines, which must count from 1, and returns the last of each.
func checkNumbers(t *testing.T, o Options, streams int) []int {
	last := make([]int, streams)
	if err := Read(context.Background(), o, Query{}, func(e Entry) bool {
		var stream, n int
		if e.NoNewline {
			return true // being written
		}
		if _, err := fmt.Sscanf(string(e.Message), "%d %d", &stream, &n); err != nil || n != last[stream]+1 {
			t.Errorf("read %q after %d: %v", e.Message, last[stream], err)
			return false
		}
		last[stream] = n
		return true
	}); err != nil {
		t.Error(err)
	}
	return last
}

func TestTornLines(t *testing.T) {
	tests := map[string]struct {
		tail string // appended by a crash
		want []string
	}{
		"half a line": {`{"time":"2020-11-23T12`, []string{`{"time":"2020-11-23T12`}},
		"no newline":  {string(Encode(nil, &Entry{Time: noon, Seq: 3, Line: []byte("line 3")})), []string{"line 3"}},
		"zeros":       {"\x00\x00\x00", []string{"\x00\x00\x00"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			s := openStore(t, o)
			appendAll(t, s, lines(1, 2))
			closeStore(t, s)
			f, err := os.OpenFile(o.path(), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(tt.tail); err != nil {
				t.Fatal(err)
			}
			f.Close()
			s = openStore(t, o)
			next := int(s.LastSeq()) + 1
			appendAll(t, s, lines(next, next))
			want := append(append(wantLines(1, 2), tt.want...), wantLines(next, next)...)
			if diff := cmp.Diff(want, readAll(t, o, Query{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(want[1:], readAll(t, o, Query{Tail: new(len(want) - 1)})); diff != "" {
				t.Errorf("tail (-want +got)\n%s", diff)
			}
		})
	}
}

// A line that is being written while the log is read is not shown in half.
func TestReadLeavesOutHalfALine(t *testing.T) {
	o := options(t)
	appendAll(t, openStore(t, o), lines(1, 2))
	f, err := os.OpenFile(o.path(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"time":"20`); err != nil {
		t.Fatal(err)
	}
	for _, q := range []Query{{}, {Tail: new(2)}} {
		if diff := cmp.Diff(wantLines(1, 2), readAll(t, o, q)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
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

func TestAppendGoesOnAfterErrors(t *testing.T) {
	t.Run("the file cannot be written", func(t *testing.T) {
		o := options(t)
		s := openStore(t, o)
		appendAll(t, s, lines(1, 1))
		good := s.file
		bad, err := os.Open(o.path())
		if err != nil {
			t.Fatal(err)
		}
		s.file = bad
		if err := s.Append(lines(2, 2)); err == nil {
			t.Error("no error from a file that cannot be written")
		}
		bad.Close()
		s.file = good
		appendAll(t, s, lines(3, 3))
		if diff := cmp.Diff(append(wantLines(1, 1), wantLines(3, 3)...), readAll(t, o, Query{})); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("the disk is full in the middle of a line", func(t *testing.T) {
		for _, raw := range []bool{false, true} {
			o := options(t)
			o.Raw = raw
			s := openStore(t, o)
			appendAll(t, s, lines(1, 1))
			limitFileSize(t, uint64(s.size)+5, func() {
				for i := 2; i <= 3; i++ {
					if err := s.Append(lines(i, i)); !errors.Is(err, syscall.EFBIG) {
						t.Errorf("Append = %v, want %v", err, syscall.EFBIG)
					}
				}
			})
			appendAll(t, s, lines(4, 4))
			if diff := cmp.Diff(append(wantLines(1, 1), wantLines(4, 4)...), readAll(t, o, Query{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
	})
	t.Run("the directory is gone at rotation", func(t *testing.T) {
		o := options(t)
		o.MaxSize = 10
		s := openStore(t, o)
		appendAll(t, s, lines(1, 1))
		if err := os.RemoveAll(o.Dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(o.Dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for i := 2; i <= 3; i++ {
			if err := s.Append(lines(i, i)); err == nil {
				t.Error("no error without a directory")
			}
		}
		if err := os.Remove(o.Dir); err != nil {
			t.Fatal(err)
		}
		appendAll(t, s, lines(4, 4))
		if diff := cmp.Diff(wantLines(4, 4), readAll(t, o, Query{})); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// limitFileSize runs do while no file of this process can grow beyond size.
func limitFileSize(t *testing.T, size uint64, do func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	do()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	o := options(t)
	for _, change := range []func(*Options){
		func(o *Options) { o.MaxSize = 0 },
		func(o *Options) { o.MaxFiles = 0 },
		func(o *Options) { o.Dir = os.DevNull },
	} {
		bad := o
		change(&bad)
		if s, err := Open(bad); err == nil {
			closeStore(t, s)
			t.Errorf("Open(%+v) made a store", bad)
		}
	}
	if err := os.MkdirAll(o.seqPath(), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(o); err == nil {
		closeStore(t, s)
		t.Error("Open read a directory")
	}
	if err := Read(t.Context(), Options{Dir: os.DevNull, Service: "web", MaxFiles: 1}, Query{}, nil); err == nil {
		t.Error("Read read a device as a directory")
	}
}

// What a crash in the middle of a compression leaves is put right by the next Open.
func TestOpenClearsUp(t *testing.T) {
	o := options(t)
	o.MaxSize, o.MaxFiles, o.Compress = 10, 9, false
	s := openStore(t, o)
	for i := 1; i <= 5; i++ {
		appendAll(t, s, lines(i, i))
	}
	closeStore(t, s)
	for _, name := range []string{"web.log.tmp.gz", "web.log.3.gz"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.MaxFiles, o.Compress = 4, true
	awaitGzip(t, o)
	if diff := cmp.Diff([]string{"web.log", "web.log.1", "web.log.2.gz", "web.log.3.gz"}, names(t, o.Dir)); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(wantLines(2, 5), readAll(t, o, Query{})); diff != "" {
		t.Errorf("lines (-want +got)\n%s", diff)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, raw := range []bool{false, true} {
		for _, batch := range []int{1, 200} {
			b.Run(fmt.Sprintf("raw=%v/batch=%d", raw, batch), func(b *testing.B) {
				s, err := Open(Options{Dir: b.TempDir(), Service: "web", Raw: raw, MaxSize: 64 << 20, MaxFiles: 2})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				line := []byte(strings.Repeat("a hundred bytes ", 7)[:99])
				es := slices.Repeat([]Entry{{Time: time.Now(), Service: "identity", Stream: "stdout", Pid: 4711, Line: line}}, batch)
				b.ReportAllocs()
				b.ResetTimer()
				n := 0
				for b.Loop() {
					for i := range es {
						es[i].Message = nil
					}
					if err := s.Append(es); err != nil {
						b.Fatal(err)
					}
					n += batch
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/line")
			})
		}
	}
}
