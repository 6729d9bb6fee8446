package logstore

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc/internal/segment"
)

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

func TestALogThatCannotBeRotatedGrows(t *testing.T) {
	o := options(t)
	o.MaxSize = 10
	s := openStore(t, o)
	appendAll(t, s, lines(1, 1))
	// What would be its name is a directory that is not empty: it cannot be renamed over.
	if err := os.MkdirAll(segment.Name(o.path(), 1)+"/in/the/way", 0o700); err != nil {
		t.Fatal(err)
	}
	s.o.MaxFiles = 1 // so that it would be removed
	appendAll(t, s, lines(2, 3))
	text, err := os.ReadFile(o.path())
	if err != nil || bytes.Count(text, []byte("\n")) != 3 {
		t.Errorf("%v, it holds %s", err, text)
	}
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
