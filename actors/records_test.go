package actors

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/blackhole/bhnode/proc/journal"
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
	r := newRig(t, cfg, newFake(t), func(n *nodeContext) { n.services["db"].lines = newLogBook(nil, cfg.Logs.Drop, n.services["db"].log) },
		func(n *nodeContext) { n.services["db"].lines.disk.append = disk.append })
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

// The reader was cut off where it waited for the disk, and the rest of the pipe lost.
func TestTheLastLinesBeforeACrashAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, disk, _ := recording(t, nil)
		disk.does(func() error { <-time.After(2 * time.Second); return nil })
		p := r.back.last("db")
		for i := range 3 {
			p.out["stdout"] <- []proc.Line{{Data: fmt.Append(nil, i)}}
		}
		p.exit(1, 0)
		pass(5 * time.Second)
		if got := r.news(); slices.Contains(got, "exited db/1") {
			t.Error("its exit was told before its last lines were written")
		}
		pass(5 * time.Second)
		if got, want := disk.all(), []string{"1 0", "2 1", "3 2"}; !slices.Equal(got, want) {
			t.Errorf("on disk: %v, want %v", got, want)
		}
		if got := r.news(); !slices.Contains(got, "exited db/1") || p.called("CutOutput") > 0 {
			t.Errorf("got %v, cut off %d times", got, p.called("CutOutput"))
		}
	})
}

func TestAPipeThatSomebodyElseHoldsIsLetGo(t *testing.T) {
	for name, tc := range map[string]struct {
		chatty bool
		want   time.Duration
	}{"silent": {false, drainTime}, "chatty": {true, drainMost}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				back.plan("db", fakePlan{held: true})
				r := newRig(t, config(t, def{name: "db"}), back)
				pass(time.Second)
				p := back.last("db")
				begin := time.Now()
				p.exit(1, 0)
				for i := 0; tc.chatty && i < 45; i++ {
					p.out["stderr"] <- []proc.Line{{Data: []byte("still here")}}
					<-time.After(drainTime / 2)
				}
				pass(20 * time.Second)
				if got := r.event("service.exited", "db").Time.Sub(begin); tc.chatty && got < drainMost || !tc.chatty && got != tc.want || got > tc.want+drainTime {
					t.Errorf("ended after %v, want %v", got, tc.want)
				}
				back.plan("db", fakePlan{})
				back.last("db").CutOutput()
			})
		})
	}
}

func TestLinesKeepTheirMarksAndTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := recording(t, nil)
		f := NewFollower[logstore.Entry]()
		if _, err := r.FollowLogs(t.Context(), []string{"db"}, f); err != nil {
			t.Fatal(err)
		}
		p := r.back.last("db")
		shared := []byte("halfrest")
		p.out["stderr"] <- []proc.Line{{Data: shared[:4], Partial: true}, {Data: shared[4:], NoNewline: true}}
		synctest.Wait()
		copy(shared, "XXXXXXXX") // lines are valid during deliver only
		batch := <-f.Batches()
		for i, want := range []logstore.Entry{
			{Service: "db", Stream: "stderr", Pid: p.pid, Seq: 1, Line: []byte("half"), Partial: true},
			{Service: "db", Stream: "stderr", Pid: p.pid, Seq: 2, Line: []byte("rest"), NoNewline: true},
		} {
			got := batch[i]
			if got.Service != want.Service || got.Stream != want.Stream || got.Pid != want.Pid || got.Seq != want.Seq ||
				!bytes.Equal(got.Line, want.Line) || got.Partial != want.Partial || got.NoNewline != want.NoNewline {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		r.UnfollowLogs([]string{"db", "nobody"}, f)
		r.saying("unheard")
		if len(f.Batches()) > 0 {
			t.Error("it follows still")
		}
		var unknown *supervision.UnknownChildError
		if _, err := r.LastLines(t.Context(), "nobody"); !errors.As(err, &unknown) {
			t.Errorf("got %v, want that nobody is unknown", err)
		}
	})
}

func TestTheLastLinesInMemoryAreFewAndSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := recording(t, nil)
		many := make([]string, 25)
		for i := range many {
			many[i] = fmt.Sprint("line ", i)
		}
		r.back.last("db").say(many...)
		pass(time.Second)
		if got, _ := r.LastLines(t.Context(), "db"); !slices.Equal(got, many[15:]) {
			t.Errorf("got %q, want the last ten", got)
		}
		long := strings.Repeat("x", recentBytes-10)
		r.saying("before", "short", long)
		if got, _ := r.LastLines(t.Context(), "db"); !slices.Equal(got, []string{"short", long}) {
			t.Errorf("got %d lines, want as many as fit", len(got))
		}
		r.saying(long + long)
		if got, _ := r.LastLines(t.Context(), "db"); len(got) != 1 {
			t.Errorf("got %d lines, want the last one though it is long", len(got))
		}
	})
}

func TestASlowFollowerLosesAndIsTold(t *testing.T) {
	f := NewFollower[int]()
	for range followerRoom {
		f.offer([]int{1}, 1)
	}
	f.offer([]int{1, 2, 3}, 1)
	if got := f.Lost(); got != 3 || len(f.Batches()) != followerRoom {
		t.Errorf("lost %d of a full follower, want 3", got)
	}
	for range followerRoom {
		<-f.Batches()
	}
	f.offer([]int{1}, 2*followerBytes) // alone it is let through
	f.offer([]int{1, 2}, 1)
	if got := f.Lost(); got != 2 || len(f.Batches()) != 1 {
		t.Errorf("lost %d beside a heavy batch, want 2", got)
	}
	<-f.Batches()
	f.offer([]int{1}, followerBytes)
	if got := f.Lost(); got != 0 {
		t.Errorf("lost %d of a follower that has caught up", got)
	}
}

func TestTheJournalGoesOnWhereItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t, def{name: "db"})
		cfg.EventsPath = t.TempDir() + "/sub/events.jsonl"
		r := newRig(t, cfg, newFake(t))
		pass(time.Second)
		first := r.events()
		r.Close()
		again := newRig(t, cfg, newFake(t))
		pass(time.Second)
		all := again.events()
		if again.LastEarlier() != first[len(first)-1].Seq || len(all) != 2*len(first) {
			t.Errorf("got %d events from %d on, want %d and twice as many", len(all), again.LastEarlier(), len(first))
		}
		for i, e := range all {
			if e.Seq != uint64(i+1) {
				t.Errorf("event %d has number %d", i+1, e.Seq)
			}
		}
		again.Close()
		file, err := journal.Open(cfg.EventsPath, journal.Options{MaxSize: 1 << 20, MaxFiles: 2})
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := file.Tail(100); err != nil || len(kept) != len(all) {
			t.Errorf("on disk are %d events, %v, want %d", len(kept), err, len(all))
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestTheJournalKeepsTheNewestInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := make(chan struct{})
		r := newRig(t, config(t, def{name: "db"}), newFake(t), func(n *nodeContext) {
			n.journal.disk.append = func([]eventRecord) error { <-stalled; return nil }
		})
		pass(time.Second)
		for i := range 3 * recentEvents {
			r.system.Root.Send(r.journalPID, writeEvents{[]eventRecord{{Seq: uint64(100 + i)}}})
		}
		got := r.events()
		if len(got) != recentEvents || got[len(got)-1].Seq != 100+3*recentEvents-1 {
			t.Errorf("got %d events up to %d", len(got), got[len(got)-1].Seq)
		}
		if d := &r.journal.disk; d.waits > diskRoom || d.lost == 0 {
			t.Errorf("%d bytes wait for the disk, %d were lost", d.waits, d.lost)
		}
		close(stalled)
	})
}

func TestFilesThatCannotBeOpenedStopTheStart(t *testing.T) {
	for name, adapt := range map[string]func(*Config){
		"the log of db":     func(c *Config) { c.Logs = Logs{Dir: "/dev/null/logs", MaxSize: 1, MaxFiles: 1} },
		"the event journal": func(c *Config) { c.EventsPath = "/dev/null/data/events.jsonl" },
	} {
		cfg := config(t, def{name: "db"})
		adapt(&cfg)
		if _, err := Start(cfg, newFake(t)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error about %s", err, name)
		}
	}
}

func TestALogOnDiskSurvivesItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t, def{name: "db"})
		cfg.Logs.Dir, cfg.Logs.MaxSize, cfg.Logs.MaxFiles = t.TempDir(), 1<<20, 2
		for range 2 {
			r := newRig(t, cfg, newFake(t))
			pass(time.Second)
			r.back.last("db").say("a", "b")
			pass(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := r.flushOne(ctx, r.services["db"].logPID); err != nil {
				t.Error(err)
			}
			cancel()
			r.Close()
		}
		if got, want := linesOnDisk(t, cfg, "db"), []string{"1 a", "2 b", "3 a", "4 b"}; !slices.Equal(got, want) {
			t.Errorf("on disk: %v, want %v", got, want)
		}
	})
}
