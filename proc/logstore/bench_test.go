package logstore

import (
	"fmt"
	"regexp"
	"testing"
	"time"
)

// BenchmarkRead reads what few of the 250 000 lines of one file are, as text and as JSON.
func BenchmarkRead(b *testing.B) {
	const count, rare = 250_000, 50_000
	o := Options{Dir: b.TempDir(), Service: "web", MaxSize: 1 << 30, MaxFiles: 2}
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	es := make([]Entry, 0, 1000)
	for i := range count {
		e := Entry{Time: noon.Add(time.Duration(i) * time.Millisecond), Service: "web", Stream: "stdout", Pid: 7, Seq: uint64(i + 1)}
		level, text := "info", "request served"
		if i%rare == rare/2 && i > rare {
			e.Stream, level, text = "stderr", "error", "boom"
		}
		e.Line = fmt.Appendf(nil, `{"level":%q,"msg":"%s in \"%d\" ms","path":"/v1/things/%d","status":200,"agent":"curl"}`, level, text, i%97, i)
		if es = append(es, e); len(es) == cap(es) {
			if err := s.Append(es); err != nil {
				b.Fatal(err)
			}
			es = es[:0]
		}
	}
	for _, bench := range []struct {
		name string
		q    Query
		want int
	}{
		{"tail", Query{Tail: new(5)}, 5},
		{"tail=100000", Query{Tail: new(100_000)}, 100_000},
		{"all", Query{}, count},
		{"grep", Query{Grep: regexp.MustCompile("boom")}, 4},
		{"tail+grep", Query{Tail: new(5), Grep: regexp.MustCompile("boom")}, 4},
		{"tail+grep=alternatives", Query{Tail: new(5), Grep: regexp.MustCompile("boom|bang")}, 4},
		{"tail+level", Query{Tail: new(5), Level: "error"}, 4},
		{"tail+stream", Query{Tail: new(5), Stream: "stderr"}, 4},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				got := 0
				if err := Read(b.Context(), o, bench.q, func(Entry) bool { got++; return true }); err != nil || got != bench.want {
					b.Fatalf("%d entries, %v; want %d", got, err, bench.want)
				}
			}
		})
	}
}
