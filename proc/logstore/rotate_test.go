package logstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
	t.Helper()
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
