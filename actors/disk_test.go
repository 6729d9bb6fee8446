package actors

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/logstore"
	"github.com/blackhole/bhnode/supervision"
)

// fakeDisk is where the lines of a service go instead of a file.
type fakeDisk struct {
	mu    sync.Mutex
	lines []string
	write func() error // before each batch
}

func (d *fakeDisk) append(batch []logstore.Entry) error {
	d.mu.Lock()
	write := d.write
	d.mu.Unlock()
	if write != nil {
		if err := write(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range batch {
		d.lines = append(d.lines, fmt.Sprintf("%d %s", e.Seq, e.Line))
	}
	return nil
}

func (d *fakeDisk) does(write func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write = write
}

func (d *fakeDisk) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// told is what a node logs.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *told) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns the messages that have come since the last call.
func (l *told) lines() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimSpace(l.text.String())
	l.text.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func (l *told) want(t *testing.T, want ...string) {
	t.Helper()
	got := l.lines()
	if len(got) != len(want) {
		t.Fatalf("told %q, want %q", got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("told %q, want %q", got[i], want[i])
		}
	}
}

// recording is a node with one service, db, that runs and whose lines go to disk.
func recording(t *testing.T, adapt func(*Config)) (*rig, *fakeDisk, *told) {
	t.Helper()
	log, disk := &told{}, &fakeDisk{}
	cfg := config(t, def{name: "db"}, def{name: "web"})
	cfg.Log = zerolog.New(log)
	if adapt != nil {
		adapt(&cfg)
	}
	r := newRig(t, cfg, newFake(t), func(n *nodeContext) {
		db := n.services.get("db")
		db.lines = newLogBook(nil, cfg.Logs.Drop, db.log)
		db.lines.disk.append = disk.append
	})
	pass(time.Second)
	return r, disk, log
}

// saying has db say lines, one batch each, and returns how long it had to wait.
func (r *rig) saying(lines ...string) time.Duration {
	p, begin := r.back.last("db"), time.Now()
	for _, l := range lines {
		p.out["stdout"] <- []proc.Line{{Data: []byte(l)}}
		for len(p.out["stdout"]) > 0 {
			<-time.After(time.Millisecond)
		}
	}
	synctest.Wait()
	return time.Since(begin)
}

func TestAFailingDiskCostsLinesNeverAService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, disk, log := recording(t, nil)
		r.saying("one")
		disk.does(func() error { return syscall.ENOSPC })
		if took := r.saying("two", "three", "four"); took > 100*time.Millisecond {
			t.Errorf("the service waited %v for a disk that fails at once", took)
		}
		log.want(t, `"message":"log lines cannot be written and are lost until they can"`)
		disk.does(nil)
		r.saying("five")
		log.want(t, `"lost":3`)
		disk.does(func() error { return syscall.ENOSPC })
		r.saying("six") // the same trouble again is not told at once
		log.want(t)
		disk.does(nil)
		pass(quietTime)
		r.saying("seven")
		log.want(t, `"lost":1`)
		if got, want := disk.all(), []string{"1 one", "5 five", "7 seven"}; !slices.Equal(got, want) {
			t.Errorf("on disk: %v, want %v", got, want)
		}
		r.wantState("db", supervision.StateRunning, 1)
	})
}

func TestAStalledDiskIsWaitedForOnceForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, disk, log := recording(t, nil)
		events := NewFollower[logstore.Entry]()
		if _, err := r.FollowLogs(t.Context(), []string{"db"}, events); err != nil {
			t.Fatal(err)
		}
		stalled := make(chan struct{})
		disk.does(func() error { <-stalled; return nil })
		if took := r.saying("one", "two"); took < 5*time.Second || took > 5100*time.Millisecond {
			t.Errorf("the service waited %v, want the 5s of block_timeout", took)
		}
		if took := r.saying("three", "four", "five"); took > 100*time.Millisecond {
			t.Errorf("the service waited another %v for a disk that is stalled", took)
		}
		if got, err := r.LastLines(t.Context(), "db"); err != nil || len(got) != 5 {
			t.Errorf("got the last lines %q, %v, want all five though none is on disk", got, err)
		}
		r.back.last("db").exit(1, 0)
		pass(20 * time.Second)
		r.wantState("db", supervision.StateRunning, 2)
		log.want(t, `are lost until they can`)
		close(stalled)
		disk.does(nil)
		pass(time.Second)
		r.saying("six")
		log.want(t, `"lost":4`)
		if got, want := disk.all(), []string{"1 one", "6 six"}; !slices.Equal(got, want) {
			t.Errorf("on disk: %v, want %v", got, want)
		}
		if got := len(events.Batches()); got != 6 {
			t.Errorf("the follower got %d lines, want all six", got)
		}
	})
}

func TestASlowDiskSlowsAServiceAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, disk, log := recording(t, nil)
		disk.does(func() error { <-time.After(4 * time.Second); return nil })
		if took := r.saying("one", "two", "three", "four"); took < 12*time.Second {
			t.Errorf("the service waited %v, want it slowed", took)
		}
		pass(10 * time.Second)
		if got := disk.all(); len(got) != 4 {
			t.Errorf("on disk: %v, want all four", got)
		}
		log.want(t)
	})
}

func TestOnOverflowDropTheServiceNeverWaitsAndTheOldestAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, disk, log := recording(t, func(c *Config) { c.Logs.Drop = true })
		stalled := make(chan struct{})
		disk.does(func() error { <-stalled; return nil })
		long := strings.Repeat("x", 1<<20)
		for i := range 20 {
			if took := r.saying(fmt.Sprint(i, long)); took > 10*time.Millisecond {
				t.Errorf("the service waited %v", took)
			}
		}
		log.want(t, `are lost until they can`)
		close(stalled)
		pass(quietTime)
		r.saying("last")
		lines := disk.all()
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], "x")
		}
		want := []string{"1 0", "14 13", "15 14", "16 15", "17 16", "18 17", "19 18", "20 19", "21 last"}
		if !slices.Equal(lines, want) {
			t.Errorf("on disk: %v, want %v", lines, want)
		}
		log.want(t, `"lost":12`)
	})
}

// A stalled disk hung the end of the node.
func TestANodeOnAStalledDiskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, disk, _ := recording(t, nil)
		stalled := make(chan struct{})
		disk.does(func() error { <-stalled; return nil })
		r.saying("one")
		begin := time.Now()
		r.Close()
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("closed after %v", took)
		}
		close(stalled)
	})
}
