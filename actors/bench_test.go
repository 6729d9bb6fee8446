package actors

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// BenchmarkCrashToStart measures a crash through the actors to the next start, of
// one service among others.
func BenchmarkCrashToStart(b *testing.B) {
	for _, services := range []int{1, 1000} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			back := newFake(b)
			defs := make([]def, services)
			for i := range defs {
				defs[i] = def{name: fmt.Sprintf("s%d", i), child: func(c *supervision.ChildSpec) {
					c.Backoff = supervision.Backoff{}
					c.Intensity = &supervision.Intensity{Max: 1 << 30}
				}}
			}
			n, err := Start(config(b, defs...), back)
			if err != nil {
				b.Fatal(err)
			}
			defer n.Close()
			<-n.Booted()
			started := make(chan struct{}, 1)
			back.mu.Lock()
			back.after = func() { started <- struct{}{} }
			back.mu.Unlock()
			b.ReportAllocs()
			for b.Loop() {
				p := back.last("s0")
				back.forget("s0")
				p.exit(1, 0)
				<-started
			}
		})
	}
}

// forget lets go of all lives of a service but the last.
func (b *fakeBackend) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lives[name] = b.lives[name][len(b.lives[name])-1:]
}

// BenchmarkLog measures lines of 100 bytes from a sink through the log's actor to
// the disk; an operation is a line.
func BenchmarkLog(b *testing.B) {
	for _, format := range []string{"json", "raw"} {
		for _, batch := range []int{1, 20, 650} {
			for _, followers := range []int{0, 1} {
				b.Run(fmt.Sprintf("%s/batch=%d/followers=%d", format, batch, followers), func(b *testing.B) {
					benchmarkLog(b, format == "raw", batch, followers)
				})
			}
		}
	}
}

func benchmarkLog(b *testing.B, raw bool, batch, followers int) {
	b.Helper()
	cfg := config(b, def{name: "db"})
	cfg.Logs = Logs{Dir: b.TempDir(), Raw: raw, MaxSize: 64 << 20, MaxFiles: 2, BlockTimeout: time.Minute}
	n, err := Start(cfg, newFake(b))
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for range followers {
		f := NewFollower[lineRecord]()
		if _, err := n.FollowLogs(b.Context(), []string{"db"}, f); err != nil {
			b.Fatal(err)
		}
		over := make(chan struct{})
		defer close(over)
		go func() {
			for {
				select {
				case <-f.Batches():
				case <-over:
					return
				}
			}
		}()
	}
	lines := make([]proc.Line, batch)
	for i := range lines {
		lines[i].Data = bytes.Repeat([]byte{'x'}, 99)
	}
	sink := newLogSink(n.nodeContext, n.services.get("db"), "stdout", 1)
	b.ReportAllocs()
	b.SetBytes(100)
	done := 0
	for b.Loop() {
		if done++; done%batch == 0 {
			sink.write(time.Now(), lines, 0)
		}
	}
}
