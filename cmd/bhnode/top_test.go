package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// used is what a node tells whose services have used so much of everything since it
// began.
func used(st *bhnodev1.GetStatusResponse, tree *bhnodev1.TreeNode, looks int) *bhnodev1.WatchStatusResponse {
	st = proto.CloneOf(st)
	for _, s := range st.GetServices() {
		if s.GetName() == "storage" {
			s.IoReadBytes = new(uint64(looks) << 20)
			s.MemoryLimitBytes, s.CpuLimitPercent = new(uint64(220<<20)), new(uint32(200))
			s.Processes, s.RestartsInWindow, s.RestartLimit = 2, 2, 5
			s.CpuPercent = new(float64(looks) * 30)
		}
	}
	return &bhnodev1.WatchStatusResponse{
		Status: st, Tree: &bhnodev1.GetTreeResponse{Root: tree},
		Machine: &bhnodev1.Machine{
			Processors: 2, Load: 1.25, MemoryBytes: 8 << 30, MemoryAvailableBytes: 6 << 30,
			CpuPressure: new(2.4), MemoryPressure: new(0.0), IoPressure: new(1.0),
		},
	}
}

// topRig is a full screen that a test types on.
type topRig struct {
	*topModel
	t      *testing.T
	fake   *fakeNode
	server *grpc.Server              // which it answers through
	now    atomic.Pointer[time.Time] // followers of the pane look at it too
}

func newTopRig(t *testing.T, width, height int, look screen) *topRig {
	t.Helper()
	fake := troubled()
	socket, server := serve(t, fake)
	node, err := client.Dial(client.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	r := &topRig{t: t, fake: fake, server: server}
	r.now.Store(&noon)
	look.size = func() (int, int) { return width, height }
	a := &app{out: &look, stdio: stdio{now: func() time.Time { return *r.now.Load() }}}
	r.topModel = newTopModel(t.Context(), a, node, time.Second)
	t.Cleanup(func() {
		r.leave()
		_ = node.Close()
	})
	r.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return r
}

// hear has the node tell of its services.
func (r *topRig) hear(looks int) {
	r.now.Store(new(noon.Add(time.Duration(looks) * time.Second)))
	r.Update(topNews{used(&bhnodev1.GetStatusResponse{Node: "alpha", Services: r.fake.services}, r.fake.tree, looks)})
}

// press types keys: names of keys, or else text.
func (r *topRig) press(keys ...string) {
	r.t.Helper()
	for _, k := range keys {
		named := map[string]rune{"up": tea.KeyUp, "down": tea.KeyDown, "esc": tea.KeyEscape, "enter": tea.KeyEnter, "backspace": tea.KeyBackspace, "end": tea.KeyEnd, "home": tea.KeyHome}
		if code, ok := named[k]; ok {
			r.Update(tea.KeyPressMsg{Code: code})
			continue
		}
		r.Update(tea.KeyPressMsg{Code: []rune(k)[0], Text: k})
	}
}

// await takes what the goroutines tell until something is so.
func (r *topRig) await(what string, so func() bool) {
	r.t.Helper()
	late := time.After(10 * time.Second)
	for !so() {
		select {
		case msg := <-r.news:
			r.Update(msg)
		case <-late:
			r.t.Fatalf("not within ten seconds: %s\n%s", what, strings.Join(r.draw(), "\n"))
		}
	}
}

func TestTopScreens(t *testing.T) {
	colour := screen{tty: true, colour: true, utf8: true}
	for _, tc := range []struct {
		name          string
		width, height int
		look          screen
		do            func(r *topRig)
	}{
		{"80x24", 80, 24, screen{tty: true, utf8: true}, nil},
		{"80x24-ascii", 80, 24, screen{tty: true}, nil},
		{"80x24-colour", 80, 24, colour, nil},
		{"200x60", 200, 60, screen{tty: true, utf8: true}, nil},
		{"60x10", 60, 10, screen{tty: true, utf8: true}, func(r *topRig) { r.press("end") }},
		{"below-the-fold", 60, 10, screen{tty: true, utf8: true}, nil},
		{"above-and-below", 80, 10, screen{tty: true}, func(r *topRig) { r.press("down", "down") }},
		{"keys", 80, 24, screen{tty: true, utf8: true}, func(r *topRig) { r.press("?") }},
		{"by-cpu", 120, 24, screen{tty: true, utf8: true}, func(r *topRig) { r.press("s") }},
		{"filter", 80, 24, screen{tty: true, utf8: true}, func(r *topRig) { r.press("/", "b", "a", "c") }},
		{"away", 80, 24, screen{tty: true, utf8: true}, func(r *topRig) {
			r.Update(topAway{"the node did not answer"})
			r.now.Store(new(r.now.Load().Add(7 * time.Second)))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newTopRig(t, tc.width, tc.height, tc.look)
			r.hear(1)
			r.hear(2)
			if tc.do != nil {
				tc.do(r)
			}
			r.pane.lines = []string{"12:02:08.000 identity │ one", "12:02:09.000 identity │ two"}
			lines := r.draw()
			if len(lines) != tc.height {
				t.Errorf("%d lines, want %d", len(lines), tc.height)
			}
			golden(t, "top-"+tc.name, strings.ReplaceAll(strings.Join(lines, "\n")+"\n", "\x1b", "␛"))
		})
	}
}

func TestTopSelectsSortsAndFilters(t *testing.T) {
	r := newTopRig(t, 80, 24, screen{tty: true, utf8: true})
	r.hear(1)
	want := func(selected string) {
		t.Helper()
		if r.selected != selected {
			t.Errorf("%s is selected, want %s", r.selected, selected)
		}
	}
	want("identity") // the first service
	r.press("down", "j")
	want("storage")
	r.press("end")
	want("cache")
	r.press("home")
	want("root")
	r.press("k")
	want("root")
	r.press("/", "l", "e", "d")
	want("ledger")
	r.press("backspace", "enter", "j", "down")
	want("ledger")
	r.press("esc", "s", "home")
	want("storage") // by cpu
	r.press("S", "home")
	want("root")
}

func TestTopShowsTheLogAndTheEventsOfTheSelected(t *testing.T) {
	r := newTopRig(t, 80, 24, screen{tty: true, utf8: true})
	r.hear(1)
	r.await("the log", func() bool { return len(r.pane.lines) == len(r.fake.entries) })
	if req, ok := r.fake.last().(*bhnodev1.StreamLogsRequest); !ok || !slices.Equal(req.GetServices(), []string{"identity"}) || !req.GetFollow() {
		t.Errorf("it asked %v", r.fake.last())
	}
	for _, line := range r.pane.lines {
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("an escape reaches the terminal: %q", line)
		}
	}
	r.press("e")
	r.await("the events", func() bool { return len(r.pane.lines) == len(r.fake.events) })
	if r.pane.of != "events of identity" {
		t.Errorf("it shows the %s", r.pane.of)
	}
}

func TestTopShowsTheEventsOfASupervisorInPlaceOfItsLog(t *testing.T) {
	r := newTopRig(t, 80, 24, screen{tty: true, utf8: true})
	r.hear(1)
	r.press("down")
	if lines := r.draw(); lines[len(lines)-7] != "nothing yet" {
		t.Errorf("an empty pane shows\n%s", strings.Join(lines, "\n"))
	}
	r.await("the events", func() bool { return len(r.pane.lines) == len(r.fake.events) })
	if req, ok := r.fake.last().(*bhnodev1.StreamEventsRequest); !ok || !slices.Equal(req.GetNames(), []string{"data"}) {
		t.Errorf("it asked %v", r.fake.last())
	}
	if r.pane.of != "events of data: a supervisor has no log" {
		t.Errorf("it shows the %s", r.pane.of)
	}
	r.press("down")
	if r.pane.of != "log of storage" {
		t.Errorf("it shows the %s", r.pane.of)
	}
}

func TestTopAsksBeforeItTouchesAnything(t *testing.T) {
	r := newTopRig(t, 80, 11, screen{tty: true, utf8: true})
	r.hear(1)
	rows := func() string { return strings.Join(r.draw()[2:6], "\n") }
	before := rows()
	dry := func() (last *bhnodev1.RestartServicesRequest, ok bool) {
		r.fake.mu.Lock()
		defer r.fake.mu.Unlock()
		for _, m := range r.fake.asked {
			if req, is := m.(*bhnodev1.RestartServicesRequest); is {
				last, ok = req, true
			}
		}
		return last, ok
	}
	ask := func() {
		t.Helper()
		r.press("r")
		r.await("who is touched", func() bool { return r.question != nil && r.question.told })
		req, ok := dry()
		if !ok || !req.GetDryRun() || fmt.Sprint(req.GetNames()) != "[identity]" {
			t.Fatalf("it asked %v", r.fake.last())
		}
	}
	ask()
	screen := strings.Join(r.draw(), "\n")
	for _, text := range []string{"restart identity?", "stops   ledger", "then  storage", "starts  storage", "then  ledger"} {
		if !strings.Contains(screen, text) {
			t.Errorf("the screen lacks %q:\n%s", text, screen)
		}
	}
	r.press("n")
	if got := rows(); got != before {
		t.Errorf("the table has moved:\n%s\nit was\n%s", got, before)
	}
	if req, ok := dry(); r.question != nil || ok && !req.GetDryRun() {
		t.Errorf("no was taken for a yes: %v", r.fake.last())
	}
	ask()
	r.press("y")
	r.await("it is done", func() bool { return r.said == "restart identity: done" })
	if req, ok := dry(); !ok || req.GetDryRun() {
		t.Errorf("it asked %v", r.fake.last())
	}
}

func TestTopGoesOnWhenTheNodeWasAway(t *testing.T) {
	r := newTopRig(t, 80, 24, screen{tty: true, utf8: true})
	r.fake.watchOnce = true // it ends its streams
	r.interval = time.Millisecond
	go r.watch()
	r.await("news", func() bool { return r.at != nil })
	r.await("it is away", func() bool { return r.away != "" })
	r.await("it is back", func() bool { return r.away == "" })
}

func TestTopSaysThatTheNodeIsGone(t *testing.T) {
	r := newTopRig(t, 80, 24, screen{tty: true, utf8: true})
	r.hear(1)
	r.interval = time.Millisecond
	r.server.Stop()
	go r.watch()
	r.await("it is away", func() bool { return r.away != "" })
	r.now.Store(new(r.now.Load().Add(7 * time.Second)))
	if got, want := r.draw()[1], "not heard for 7s: the node is gone; connecting again until it is there"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r.press("r")
	r.await("there is no answer", func() bool { return r.question.err != nil })
	if screen := strings.Join(r.draw(), "\n"); !strings.Contains(screen, "\nrestart identity: the node is gone\n") {
		t.Errorf("the screen:\n%s", screen)
	}
	if err := status.Error(codes.Unavailable, "the node is stopping"); topError(err) != "the node is stopping" {
		t.Errorf("what a node says became %q", topError(err))
	}
}

func TestTopTellsWhatIsBadFirst(t *testing.T) {
	r := newTopRig(t, 80, 24, screen{tty: true, utf8: true})
	counted := func(node string, services []*bhnodev1.Service) string {
		r.Update(topNews{used(&bhnodev1.GetStatusResponse{Node: node, Services: services}, r.fake.tree, 1)})
		return r.draw()[0]
	}
	for value, name := range bhnodev1.ServiceState_name {
		state := bhnodev1.ServiceState(value)
		if got := counted("alpha", []*bhnodev1.Service{{Name: "a", State: state}}); value != 0 && !strings.HasSuffix(got, "1 service: 1 "+stateWord(state)) {
			t.Errorf("%s is not counted: %s", name, got)
		}
	}
	var services []*bhnodev1.Service
	for state, n := range map[string]int{"RUNNING": 7, "COMPLETED": 2, "WAITING": 1, "STOPPED": 3, "UNHEALTHY": 1, "FAILED": 5} {
		for range n {
			services = append(services, &bhnodev1.Service{Name: "a", State: bhnodev1.ServiceState(bhnodev1.ServiceState_value["SERVICE_STATE_"+state])})
		}
	}
	if got, want := counted("alpha", services), "alpha  cpu 0%  memory 0  19 services: 5 failed, 1 unhealthy, 1 waiting, 7 runni…"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := counted("alpha.of.a.long.domain.where.nobody.has.saved.letters.example", services), "alpha.of.a.long…  cpu 0%  memory 0  19 services: 5 failed, 1 unhealthy, 1 waiti…"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := counted("alpha.of.a.long.domain.example", services[:0]), "alpha.of.a.long.domain.example  cpu 0%  memory 0  0 services: "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTopOnce(t *testing.T) {
	socket, _ := serve(t, troubled())
	got := at(socket).exec(t, "top") // there is no terminal
	if got.code != exitOK {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	golden(t, "top-once", got.out)
}

func TestTopJSON(t *testing.T) {
	socket, _ := serve(t, troubled())
	got := at(socket).exec(t, "top", "--once", "-o", "json")
	var top topJSON
	if err := json.Unmarshal([]byte(got.out), &top); err != nil || got.code != exitOK {
		t.Fatalf("%v, exit %d: %s", err, got.code, got.err)
	}
	s := top.Services[1]
	if *top.Node != "alpha" || top.Machine.Processors != 2 || s.Name != "storage" || *s.MemoryLimit != 220<<20 || *s.CPUPercent != 60 {
		t.Errorf("got %s", got.out)
	}
	if strings.Count(strings.TrimSpace(got.out), "\n") != 0 {
		t.Error("it takes more than one line")
	}
	if got := at(socket).exec(t, "top", "--interval", "1ms"); got.code != exitUsage {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
}

func TestTopShowsAllWhoAreTouched(t *testing.T) {
	names := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("service-%02d", i))
		}
		return out
	}
	each := func(n int) (waves [][]string) {
		for _, name := range names(n) {
			waves = append(waves, []string{name})
		}
		return waves
	}
	for _, tc := range []struct {
		name          string
		width, height int
		stops, starts [][]string
	}{
		{"on-lines-of-their-own", 80, 24, each(4), each(5)},
		{"behind-one-another", 80, 24, each(12), each(12)},
		{"wide", 80, 24, [][]string{names(15)}, nil},
		{"too-many", 80, 24, each(120), each(120)},
		{"too-many-to-start", 80, 24, nil, [][]string{names(300)}},
		{"small", 60, 10, each(6), each(6)},
		{"tiny", 40, 8, each(6), each(6)},
	} {
		for _, look := range []screen{{tty: true, utf8: true}, {tty: true}} {
			r := newTopRig(t, tc.width, tc.height, look)
			r.hear(1)
			r.question = &topQuestion{op: restartOperation(), told: true, stops: tc.stops, starts: tc.starts}
			r.question.op.names = []string{"identity"}
			lines := r.draw()
			if len(lines) != tc.height {
				t.Errorf("%d lines, want %d", len(lines), tc.height)
			}
			if look.utf8 {
				golden(t, "top-asked-"+tc.name, strings.Join(lines, "\n")+"\n")
			}
			seen, counted := len(regexp.MustCompile(`service-\d+`).FindAllString(strings.Join(lines, "\n"), -1)), 0
			for _, m := range regexp.MustCompile(`(?:and|stops|starts) (\d+)`).FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
				n, _ := strconv.Atoi(m[1])
				counted += n
			}
			if want := len(slices.Concat(tc.stops...)) + len(slices.Concat(tc.starts...)); seen+counted != want {
				t.Errorf("%s: %d are shown and %d counted, want %d\n%s", tc.name, seen, counted, want, strings.Join(lines, "\n"))
			}
		}
	}
}
