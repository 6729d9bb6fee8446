package logstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// manyFiles returns a log of lines 1 to 100 in ten files, all but two compressed.
func manyFiles(t *testing.T) Options {
	t.Helper()
	o := options(t)
	o.MaxSize, o.MaxFiles = 1, 12
	s := openStore(t, o)
	for i := 1; i <= 100; i += 10 {
		appendAll(t, s, lines(i, i+9))
	}
	closeStore(t, s)
	awaitGzip(t, o)
	if got := len(names(t, o.Dir)); got != 10 {
		t.Fatalf("%d files, want 10", got)
	}
	return o
}

func TestQueries(t *testing.T) {
	o := manyFiles(t)
	even := func(first, last int) (want []string) {
		for i := first; i <= last; i += 2 {
			want = append(want, wantLines(i, i)...)
		}
		return want
	}
	tests := map[string]struct {
		q    Query
		want []string
	}{
		"all":                    {Query{}, wantLines(1, 100)},
		"tail 0":                 {Query{Tail: new(0)}, nil},
		"tail in the newest":     {Query{Tail: new(3)}, wantLines(98, 100)},
		"tail of one file":       {Query{Tail: new(10)}, wantLines(91, 100)},
		"tail over two files":    {Query{Tail: new(15)}, wantLines(86, 100)},
		"tail over compressed":   {Query{Tail: new(47)}, wantLines(54, 100)},
		"tail of whole files":    {Query{Tail: new(50)}, wantLines(51, 100)},
		"tail of all":            {Query{Tail: new(1000)}, wantLines(1, 100)},
		"since":                  {Query{Since: noon.Add(33 * time.Second)}, wantLines(33, 100)},
		"since later":            {Query{Since: noon.Add(101 * time.Second)}, nil},
		"stream":                 {Query{Stream: "stdout"}, even(2, 100)},
		"stream, tail":           {Query{Stream: "stdout", Tail: new(31)}, even(40, 100)},
		"grep":                   {Query{Grep: regexp.MustCompile(`^line .5$`)}, []string{"line 15", "line 25", "line 35", "line 45", "line 55", "line 65", "line 75", "line 85", "line 95"}},
		"grep, tail":             {Query{Grep: regexp.MustCompile(`^line .5$`), Tail: new(4)}, []string{"line 65", "line 75", "line 85", "line 95"}},
		"grep, stream, since":    {Query{Grep: regexp.MustCompile(`7`), Stream: "stdout", Since: noon.Add(71 * time.Second)}, []string{"line 72", "line 74", "line 76", "line 78"}},
		"tail of what is not so": {Query{Grep: regexp.MustCompile(`nothing`), Tail: new(4)}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, readAll(t, o, tt.q)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestReadEnds(t *testing.T) {
	o := manyFiles(t)
	n := 0
	if err := Read(t.Context(), o, Query{}, func(Entry) bool { n++; return n < 5 }); err != nil || n != 5 {
		t.Errorf("%d entries after yield said stop, %v; want 5", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, q := range []Query{{}, {Tail: new(95)}} {
		if err := Read(ctx, o, q, func(Entry) bool { return true }); !errors.Is(err, context.Canceled) {
			t.Errorf("Read = %v, want %v", err, context.Canceled)
		}
	}
	if got := readAll(t, Options{Dir: t.TempDir(), Service: "none", MaxFiles: 8}, Query{Tail: new(9)}); got != nil {
		t.Errorf("read %q of no log", got)
	}
}

// Files last written before the time asked for are not opened at all.
func TestSinceLeavesOutOldFiles(t *testing.T) {
	o := manyFiles(t)
	old := noon.Add(-time.Hour)
	for _, name := range []string{"web.log.4.gz", "web.log.5.gz"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte("not gzip"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(o.Dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(wantLines(61, 100), readAll(t, o, Query{Since: noon})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// In a large file the beginning of what is wanted is looked for, and found, long lines in the
// way or not.
func TestSinceInALargeFile(t *testing.T) {
	o := options(t)
	o.MaxSize = 1 << 30
	s := openStore(t, o)
	const count = 60_000
	for from := 1; from <= count; from += 1000 {
		batch := lines(from, from+999)
		for i := range batch {
			batch[i].Time = noon.Add(time.Duration(from+i) * time.Second)
			if i == 500 && from%5000 == 1 {
				batch[i].Line = bytes.Repeat([]byte("x"), 300<<10)
			}
		}
		appendAll(t, s, batch)
	}
	if s.size < 2*bisected {
		t.Fatalf("the file has %d bytes, too few", s.size)
	}
	for _, n := range []int{0, 1, 2, 500, 501, 502, 999, 1000, 30_000, 30_501, 59_990, 60_000, 60_001} {
		got, first := 0, uint64(0)
		err := Read(t.Context(), o, Query{Since: noon.Add(time.Duration(n) * time.Second)}, func(e Entry) bool {
			if first == 0 {
				first = e.Seq
			}
			got++
			return true
		})
		if want := count - max(n, 1) + 1; err != nil || got != want || want > 0 && first != uint64(max(n, 1)) {
			t.Errorf("since second %d: %d entries from %d on, %v; want %d", n, got, first, err, want)
		}
	}
}

func TestCompressionKeepsTheTime(t *testing.T) {
	o := options(t)
	o.MaxSize = 1
	s := openStore(t, o)
	appendAll(t, s, lines(1, 1))
	then := noon.Add(-time.Hour)
	if err := os.Chtimes(o.path(), then, then); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, lines(2, 2))
	appendAll(t, s, lines(3, 3))
	closeStore(t, s)
	awaitGzip(t, o)
	info, err := os.Stat(filepath.Join(o.Dir, "web.log.2.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if !info.ModTime().Equal(then) {
		t.Errorf("the compressed file is of %v, want %v", info.ModTime(), then)
	}
}

// Rotations and compressions between two opens neither hide a file nor show one twice,
// nor one that is newer than the first.
func TestReadFollowsRotations(t *testing.T) {
	older := func(t *testing.T, files *chain, want ...string) {
		t.Helper()
		for _, name := range want {
			src, err := files.older()
			if src == nil || err != nil || filepath.Base(src.file.Name()) != name {
				t.Fatalf("older() = %v, %v; want %s", src, err, name)
			}
		}
	}
	for rotations, want := range map[int][]string{
		0: {"web.log.1", "web.log.2.gz", "web.log.3.gz"},
		1: {"web.log.2.gz", "web.log.3.gz", "web.log.4.gz"},
		3: {"web.log.4.gz", "web.log.5.gz", "web.log.6.gz"},
		5: {"web.log.6.gz", "web.log.7.gz"}, // the oldest is gone
		9: {},                               // all are
	} {
		t.Run(fmt.Sprint(rotations), func(t *testing.T) {
			o := options(t)
			o.MaxSize = 1
			s := openStore(t, o)
			for i := 1; i <= 4; i++ {
				appendAll(t, s, lines(i, i))
			}
			closeStore(t, s)
			awaitGzip(t, o)
			files := chain{o: o}
			defer files.close()
			older(t, &files, "web.log")
			s = openStore(t, o)
			for i := range rotations {
				appendAll(t, s, lines(5+i, 5+i))
			}
			closeStore(t, s)
			awaitGzip(t, o)
			older(t, &files, want...)
			if src, err := files.older(); src != nil || err != nil {
				t.Errorf("older() = %v, %v after the last", src, err)
			}
		})
	}
}

// A damaged file does not hide the newer ones; the error names it.
func TestReadOfDamagedFiles(t *testing.T) {
	o := manyFiles(t)
	whole, err := os.ReadFile(filepath.Join(o.Dir, "web.log.3.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"cut": whole[:len(whole)/2], "no gzip": []byte("x"), "empty": nil} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(o.Dir, "web.log.3.gz"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			var got []string
			err := Read(t.Context(), o, Query{}, func(e Entry) bool { got = append(got, string(e.Message)); return true })
			if err == nil || !regexp.MustCompile(`web\.log\.3\.gz`).MatchString(err.Error()) {
				t.Errorf("Read = %v, want an error that names the file", err)
			}
			if n := len(got); n < 90 || got[0] != "line 1" || got[n-1] != "line 100" {
				t.Errorf("read %d lines, want what the other files hold", n)
			}
			tail := []string{}
			err = Read(t.Context(), o, Query{Tail: new(35)}, func(e Entry) bool { tail = append(tail, string(e.Message)); return true })
			if n := len(tail); n < 30 || tail[n-1] != "line 100" || err == nil || !regexp.MustCompile(`web\.log\.3\.gz`).MatchString(err.Error()) {
				t.Errorf("read a tail of %d lines, %v; want an error that names the file", n, err)
			}
		})
	}
}

func TestLevels(t *testing.T) {
	for _, tc := range []struct {
		wanted, is string
		match      bool
	}{
		{"", "", true},
		{"warn", "WARNING", true},
		{"warn", "error", true},
		{"warn", "panic", true},
		{"warn", "info", false},
		{"warn", "", false},
		{"warn", "loud", false},
		{"trace", "trace", true},
		{"trace", "", false},
		{"fatal", "error", false},
	} {
		q := Query{Level: tc.wanted}
		if got := q.Match(&Entry{Level: tc.is}); got != tc.match {
			t.Errorf("%q for %q: %v", tc.is, tc.wanted, got)
		}
	}
}
