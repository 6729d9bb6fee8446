package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// event is one line of the journal.
type event struct {
	Seq         uint64
	Time        time.Time
	Type        string
	Service     string
	Supervisor  string
	Incarnation uint64
	Pid         int
	Cause       uint64
	Message     string
	Attrs       map[string]any
}

func (e event) String() string {
	attrs, _ := json.Marshal(e.Attrs)
	return fmt.Sprintf("%s %4d ←%-4d %-21s %s%s/%d pid %d %q %s",
		e.Time.Format("05.000"), e.Seq, e.Cause, e.Type, e.Service, e.Supervisor, e.Incarnation, e.Pid, e.Message, attrs)
}

// attr is a detail of an event as a word.
func (e event) attr(name string) string {
	if e.Attrs[name] == nil {
		return ""
	}
	return fmt.Sprint(e.Attrs[name])
}

// eventLog holds the events of a node, over all its runs, in order.
type eventLog struct {
	mu    sync.Mutex
	list  []event
	found chan struct{} // closed when there are more
}

func newEventLog() *eventLog {
	return &eventLog{found: make(chan struct{})}
}

func (l *eventLog) add(events ...event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		if len(l.list) == 0 || e.Seq > l.list[len(l.list)-1].Seq {
			l.list = append(l.list, e)
		}
	}
	close(l.found)
	l.found = make(chan struct{})
}

func (l *eventLog) all() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func (l *eventLog) more() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found
}

// last is the number of the newest event.
func (l *eventLog) last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == 0 {
		return 0
	}
	return l.list[len(l.list)-1].Seq
}

// follow takes the events of a node in until ctx ends; bhnode may become another one
// meanwhile.
func (l *eventLog) follow(ctx context.Context, socket string) {
	for ctx.Err() == nil {
		if c := dialWhenUp(ctx, socket); c != nil {
			l.followOne(ctx, c)
		}
	}
}

func (l *eventLog) followOne(ctx context.Context, c *client.Client) {
	defer func() { _ = c.Close() }()
	stream, err := c.StreamEvents(ctx, &bhnodev1.StreamEventsRequest{Follow: true, After: l.last()})
	if err != nil {
		return
	}
	for {
		batch, err := stream.Recv()
		if err != nil {
			return // the journal on disk has the rest
		}
		for _, e := range batch.GetEvents() {
			l.add(event{
				Seq: e.GetSeq(), Time: e.GetTime().AsTime(), Type: e.GetType(), Service: e.GetService(), Supervisor: e.GetSupervisor(),
				Incarnation: e.GetIncarnation(), Pid: int(e.GetPid()), Cause: e.GetCause(), Message: e.GetMessage(), Attrs: e.GetAttrs().AsMap(),
			})
		}
	}
}

// dialWhenUp connects as soon as somebody listens. It returns nil when ctx ends.
func dialWhenUp(ctx context.Context, socket string) *client.Client {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		if c, err := client.Dial(client.Options{Socket: socket}); err == nil {
			return c
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// journal is where the events are kept.
func (n *node) journal() string {
	if n.config == "" {
		return filepath.Join(n.dir, "bhnode", "data", "events.jsonl")
	}
	return filepath.Join(n.dir, "data", "events.jsonl")
}

// complete adds what the journal on disk has besides.
func (l *eventLog) complete(path string) {
	file, err := os.Open(path)
	if err != nil {
		l.add()
		return
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	var events []event
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			events = append(events, e)
		}
	}
	l.add(events...)
}

// events are all events so far that fit, in order.
func (n *node) events(fits func(event) bool) []event {
	return slices.DeleteFunc(n.log.all(), func(e event) bool { return !fits(e) })
}

// since are the events after one, in order. What a command has brought about is among
// them once the command has ended.
func (n *node) since(after event) []event {
	n.t.Helper()
	if last, _, code := n.cli("events", "-n", "1", "-o", "json"); code == 0 && last != "" {
		seq := parse[event](n.t, last).Seq
		n.awaitWhere("the last event", func(e event) bool { return e.Seq >= seq })
	}
	return n.events(func(e event) bool { return e.Seq > after.Seq })
}

// awaitWhere waits for the first event that fits.
func (n *node) awaitWhere(what string, fits func(event) bool) event {
	n.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		more := n.log.more()
		running := n.running()
		if all := n.events(fits); len(all) > 0 {
			return all[0]
		}
		if !running {
			n.t.Fatalf("bhnode has ended without %s", what)
		}
		select {
		case <-more:
		case <-n.gone:
		case <-deadline.C:
			n.t.Fatalf("got no %s", what)
		}
	}
}

// await waits for the first event of a type about a service, or a supervisor, in
// that incarnation; 0 stands for any.
func (n *node) await(kind, who string, inc uint64) event {
	n.t.Helper()
	return n.awaitAfter(event{}, kind, who, inc)
}

// awaitAfter is await for what comes after an event.
func (n *node) awaitAfter(after event, kind, who string, inc uint64) event {
	n.t.Helper()
	return n.awaitWhere(fmt.Sprintf("%s of %s/%d after event %d", kind, who, inc, after.Seq), func(e event) bool {
		return e.Seq > after.Seq && e.Type == kind && e.Service+e.Supervisor == who && (inc == 0 || e.Incarnation == inc)
	})
}

// now is the newest event; what comes after it is caused by what the test does next.
func (n *node) now() event { return event{Seq: n.log.last()} }

// count is how many events of a type there are about a service or supervisor.
func (n *node) count(kind, who string) int {
	return len(n.events(func(e event) bool { return e.Type == kind && e.Service+e.Supervisor == who }))
}

// names lists who had an event of a type, in order.
func names(events []event, kind string) []string {
	var who []string
	for _, e := range events {
		if e.Type == kind {
			who = append(who, e.Service+e.Supervisor)
		}
	}
	return who
}

// brief tells the events of some types as "type who/incarnation", without the kind
// of thing that "who" is.
func brief(events []event, kinds ...string) []string {
	var out []string
	for _, e := range events {
		_, what, _ := strings.Cut(e.Type, ".")
		if slices.Contains(kinds, what) {
			out = append(out, fmt.Sprintf("%s %s/%d", what, e.Service+e.Supervisor, e.Incarnation))
		}
	}
	return out
}

// checkBrief asserts what events of some types there are, in order.
func (n *node) checkBrief(events []event, kinds string, want ...string) {
	n.t.Helper()
	if diff := cmp.Diff(want, brief(events, strings.Fields(kinds)...)); diff != "" {
		n.t.Errorf("events: -want +got\n%s", diff)
	}
}

// checkSorted is checkBrief for events whose order nothing says.
func (n *node) checkSorted(events []event, kinds string, want ...string) {
	n.t.Helper()
	got := slices.Sorted(slices.Values(brief(events, strings.Fields(kinds)...)))
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
		n.t.Errorf("events: -want +got\n%s", diff)
	}
}

// checkOrder asserts that each of these happened, first after the one before, as
// "type who/incarnation".
func (n *node) checkOrder(events []event, want ...string) {
	n.t.Helper()
	at := -1
	for _, w := range want {
		i := slices.IndexFunc(events, func(e event) bool {
			_, what, _ := strings.Cut(e.Type, ".")
			return fmt.Sprintf("%s %s/%d", what, e.Service+e.Supervisor, e.Incarnation) == w
		})
		if i <= at {
			n.t.Errorf("%q is not there, or not after what comes before it in %q", w, want)
			return
		}
		at = i
	}
}

// chain follows the causes of an event back to the first, as "type service …".
func (n *node) chain(e event) []string {
	bySeq := map[uint64]event{}
	for _, x := range n.log.all() {
		bySeq[x.Seq] = x
	}
	links := []string{}
	for e.Seq != 0 {
		links = append(links, strings.TrimSpace(e.Type+" "+e.Service+e.Supervisor))
		e = bySeq[e.Cause]
	}
	return links
}
