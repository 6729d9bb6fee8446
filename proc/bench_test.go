package proc

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// BenchmarkLife measures one incarnation from its start to its release, beside bare
// fork, exec and wait, with other services running and without.
func BenchmarkLife(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, others := range []int{0, 100, 1000} {
		b.Run("others="+strconv.Itoa(others), func(b *testing.B) { benchmarkLife(b, others) })
	}
}

// benchHost opens a host that is served until the benchmark ends.
func benchHost(b *testing.B) *Host {
	b.Helper()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		b.Fatal(err)
	}
	h, err := OpenHost(HostOptions{Node: "n", RuntimeDir: filepath.Join(dir, "run"), Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	serving <- func() { h.Serve(ctx) }
	b.Cleanup(func() {
		for _, p := range h.live() {
			_ = p.Signal(syscall.SIGKILL)
			<-p.Exited()
			p.Release()
		}
		cancel()
		<-h.served
		_ = h.Close()
		_ = os.RemoveAll(dir)
	})
	return h
}

func benchmarkLife(b *testing.B, others int) {
	b.Helper()
	h, ctx := benchHost(b), b.Context()
	for i := range others {
		s := &ServiceSpec{Name: "other" + strconv.Itoa(i), Command: []string{"/bin/sleep", "1000"}}
		if _, err := h.Start(ctx, s, 1); err != nil {
			b.Fatal(err)
		}
	}
	s := &ServiceSpec{Name: "svc", Command: []string{"/bin/true"}, Config: []byte("a: 1\n")}
	b.ReportAllocs()
	for b.Loop() {
		p, err := h.Start(ctx, s, 1)
		if err != nil {
			b.Fatal(err)
		}
		if err := p.AwaitGone(ctx); err != nil {
			b.Fatal(err)
		}
		p.Release()
	}
}
