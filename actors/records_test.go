package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/proc/logstore"
	"github.com/blackhole/bhnode/supervision"
)

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
		r.saying("caf\xe9") // not to be sent as it is
		if got, _ := r.LastLines(t.Context(), "db"); !slices.Equal(got, append(many[16:], "caf\uFFFD")) {
			t.Errorf("got %q, want what may be sent", got)
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
	fs := followers[int]{f: true}
	offer := func(weight int, batch ...int) { fs.publish(batch, len(batch), weight, itself) }
	for range followerRoom {
		offer(1, 1)
	}
	offer(1, 1, 2, 3)
	if got := f.Lost(); got != 3 || len(f.Batches()) != followerRoom {
		t.Errorf("lost %d of a full follower, want 3", got)
	}
	for range followerRoom {
		<-f.Batches()
	}
	offer(2*followerBytes, 1) // alone it is let through
	offer(1, 1, 2)
	if got := f.Lost(); got != 2 || len(f.Batches()) != 1 {
		t.Errorf("lost %d beside a heavy batch, want 2", got)
	}
	<-f.Batches()
	offer(followerBytes, 1)
	if got := f.Lost(); got != 0 {
		t.Errorf("lost %d of a follower that has caught up", got)
	}
}

func TestAFollowerSeesNoMoreThanItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pace = 1000
		f := NewFollower[int]().AtPace(pace)
		kept := 0
		seen := func(batches, weight int) (n int) {
			for range batches {
				if (followers[int]{f: true}).publish([]int{1}, 1, weight, func(b []int) []int { kept++; return b }) {
					n++
					<-f.Batches()
				}
			}
			return n
		}
		if got := seen(10, followerBytes/4); got != 4 { // at once
			t.Errorf("saw %d batches, want 4", got)
		}
		if got := f.Lost(); got != 6 || kept != 4 {
			t.Errorf("lost %d, %d were copied, want 6 and 4", got, kept)
		}
		pass(2 * time.Second)
		if got := seen(10, pace/2); got != 4 {
			t.Errorf("saw %d batches in two seconds, want 4", got)
		}
		pass(time.Hour * 24)
		if got := seen(2, 2*followerBytes); got != 1 { // a heavy one takes all
			t.Errorf("saw %d heavy batches, want 1", got)
		}
	})
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
			if err := r.flushOne(ctx, r.services.get("db").logPID); err != nil {
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
