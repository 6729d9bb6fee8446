package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// town is who is told of events.
type town struct {
	mu    sync.Mutex
	heard []string
	slow  time.Duration
	deaf  bool
}

func (w *town) announce(ctx context.Context, argv []string, vars []proc.EnvVar) error {
	said := map[string]string{}
	for _, v := range vars {
		said[v.Name] = v.Value
	}
	if !strings.Contains(said["BHNODE_EVENT"], fmt.Sprintf("%q", said["BHNODE_EVENT_TYPE"])) {
		return errors.New("the event is not all of it")
	}
	w.mu.Lock()
	w.heard = append(w.heard, strings.Join([]string{argv[0], said["BHNODE_EVENT_TYPE"], said["BHNODE_EVENT_NAME"]}, " "))
	w.mu.Unlock()
	if w.deaf {
		<-ctx.Done()
		return ctx.Err()
	}
	<-time.After(w.slow)
	return nil
}

func (w *town) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.heard)
}

func announcing(t *testing.T, w *town, of ...Announcement) *rig {
	t.Helper()
	back := newFake(t)
	back.announce = w.announce
	cfg := config(t, def{name: "db"}, def{name: "web"})
	cfg.Announcements = of
	return newRig(t, cfg, back)
}

func TestEventsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{}
		r := announcing(t, w,
			Announcement{Command: []string{"all"}, Types: []string{supervision.ServiceExited, supervision.NodeStopped}},
			Announcement{Command: []string{"web"}, Types: []string{supervision.ServiceExited}, Names: []string{"web"}})
		pass(time.Second)
		r.back.last("db").exit(1, 0)
		pass(time.Minute)
		r.back.last("web").exit(1, 0)
		pass(time.Minute)
		if err := r.Stop(t.Context(), false, "test", "stop"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		r.Close() // which waits for the last
		got := w.told()
		slices.Sort(got)
		want := []string{"all node.stopped ", "all service.exited db", "all service.exited web", "web service.exited web"}
		if !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// A command that is slow is told one event after the other, and the latest if it is too
// slow for all; one that does not end does not hold the end of the node up for long.
func TestASlowCommandIsToldTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{slow: time.Hour}
		r := announcing(t, w, Announcement{Command: []string{"slow"}, Types: []string{supervision.OperatorCommand}})
		pass(time.Second)
		for range announceRoom + 20 {
			r.command(supervision.OpStart, "db")
		}
		pass(48 * time.Hour)
		if got := len(w.told()); got != 48+1 {
			t.Errorf("it was told %d times in two days", got)
		}
		pass(200 * time.Hour)
		if got := len(w.told()); got != announceRoom+1 {
			t.Errorf("it was told of %d events, want of the first and of the last %d", got, announceRoom)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := &town{deaf: true}
		r := announcing(t, w, Announcement{Command: []string{"deaf"}, Types: []string{supervision.NodeReady}})
		pass(time.Second)
		begun := time.Now()
		r.Close()
		if took := time.Since(begun); took > 2*announceTime || len(w.told()) != 1 {
			t.Errorf("the end took %v, it was told %q", took, w.told())
		}
	})
}
