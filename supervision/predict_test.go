package supervision

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// foretold is a prediction in one line: stop waves, start waves, the untouched.
func foretold(p Prediction) string {
	return fmt.Sprintf("-%s +%s =%s", inWaves(p.Stop), inWaves(p.Start), inWaves([][]ChildID{p.Untouched}))
}

func inWaves(list [][]ChildID) string {
	var waves []string
	for _, w := range list {
		var names []string
		for _, id := range w {
			names = append(names, string(id))
		}
		waves = append(waves, strings.Join(names, " "))
	}
	return strings.Join(waves, "|")
}

func predict(t *testing.T, root SupervisorSpec, id ChildID, kind ExitKind, times int) Prediction {
	t.Helper()
	tree, err := Compile(root)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Predict(tree, Options{}, id, kind, times)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPredictionNamesWhoStopsAndStartsInOrder(t *testing.T) {
	a, b, c := service("a"), service("b", "a"), service("c", "b")
	tests := []struct {
		name string
		tree SupervisorSpec
		id   ChildID
		kind ExitKind
		want string
	}{
		{
			"nine services", nine(), "ledger", Abnormal,
			"-telemetry wallet|analytics +ledger|analytics wallet|telemetry =identity storage node social indexer",
		},
		{"one_for_one", under("root", OneForOne, Graph, a, b, c), "a", Abnormal, "- +a =b c"},
		{"sequence", under("root", RestForOne, Sequence, a, b, c), "a", Abnormal, "-c|b +a|b|c ="},
		{"one_for_all", under("root", OneForAll, Graph, a, service("x")), "a", Abnormal, "-x +a x ="},
		{"the normal end of a transient service", under("root", RestForOne, Graph, typed(Transient, a), b), "a", Normal, "- + =b"},
		{"a temporary service", under("root", OneForAll, Graph, typed(Temporary, a), b), "a", Abnormal, "- + =b"},
		{
			"across supervisors",
			under("root", RestForOne, Graph, nested(under("low", OneForOne, Graph, a)), nested(under("high", OneForOne, Graph, b, service("x")))),
			"a", Abnormal, "-b +a|b =x",
		},
		{
			"a one-shot that others wait for crashes", under("root", RestForOne, Graph, typed(Transient, a), through(WhenCompleted, false, b)),
			"a", Abnormal, "- +a =b",
		},
		{
			"and completes", under("root", RestForOne, Graph, typed(Transient, a), through(WhenCompleted, false, b)),
			"a", Normal, "- +b =",
		},
		{
			"a one-shot that has completed stays so",
			under("root", RestForOne, Graph, typed(Transient, service("m")), a, through(WhenCompleted, false, service("b", "m"))),
			"a", Abnormal, "- +a =m b",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := foretold(predict(t, tt.tree, tt.id, tt.kind, 1)); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestPredictionFollowsTheLimits(t *testing.T) {
	tree := intense(under("root", OneForOne, Graph, service("a"), service("b")), 2)
	if p := predict(t, tree, "a", Abnormal, 2); p.Escalates || !p.Restarts || p.Counter.ID != "root" || p.Counter.InWindow != 2 {
		t.Errorf("the second of two: %+v", p)
	}
	p := predict(t, tree, "a", Abnormal, 3)
	if got := foretold(p); got != "-b + =" || !p.Escalates || !p.Ended || p.Restarts {
		t.Errorf("one too many: %s, %+v", got, p)
	}
	if p := predict(t, tree, "a", Abnormal, 9); p.Ends != 3 || !p.Escalates {
		t.Errorf("after that it cannot end: %+v", p)
	}

	own := pair(limited(1, service("p")), service("d", "p"))
	p = predict(t, own, "p", Abnormal, 2)
	if got := foretold(p); got != "-d + =" || p.Escalates || p.Child.State != StateFailed || p.Counter.ID != "p" {
		t.Errorf("its own limit: %s, %+v", got, p)
	}

	inner := nested(intense(under("inner", OneForOne, Graph, service("a"), service("b")), 0))
	p = predict(t, under("root", OneForOne, Graph, inner, service("c")), "a", Abnormal, 1)
	if got := foretold(p); got != "-b +a b =c" || !p.Escalates || p.Ended || !cmp.Equal(p.GaveUp, []ChildID{"inner"}) || len(p.Down) > 0 {
		t.Errorf("a nested supervisor gives up: %s, %+v", got, p)
	}
	inner.Restart = Temporary
	p = predict(t, under("root", OneForOne, Graph, inner, service("c")), "a", Abnormal, 1)
	if got := foretold(p); got != "-b + =c" || !cmp.Equal(p.Down, []ChildID{"inner"}) {
		t.Errorf("and is not started again: %s, %+v", got, p)
	}
}

func TestPredictedDelayIsThatOfTheLastEnd(t *testing.T) {
	tree := under("root", OneForOne, Graph, delayed(time.Second, service("a")))
	for n, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second} {
		if got := predict(t, tree, "a", Abnormal, n+1).Delay; got != want {
			t.Errorf("end %d: %v, want %v", n+1, got, want)
		}
	}
	kept := under("root", OneForOne, Graph, onExhausted(Keep, limited(1, delayed(time.Second, service("a")))))
	if got := predict(t, kept, "a", Abnormal, 2).Delay; got != 8*time.Second {
		t.Errorf("beyond a limit that is kept to: %v, want 8s", got)
	}
}

func TestOnlyServicesArePredicted(t *testing.T) {
	tree, err := Compile(under("root", OneForOne, Graph, nested(under("inner", OneForOne, Graph, service("a")))))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []ChildID{"nobody", "inner", "root"} {
		var unknown *UnknownChildError
		if _, err := Predict(tree, Options{}, id, Abnormal, 1); !errors.As(err, &unknown) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestBootWaves(t *testing.T) {
	boot := func(root SupervisorSpec, o Options) string {
		tree, err := Compile(root)
		if err != nil {
			t.Fatal(err)
		}
		return inWaves(PredictBoot(tree, o))
	}
	if got, want := boot(nine(), Options{}), "identity|storage node ledger|social indexer wallet|analytics|telemetry"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	a, b, c := service("a"), service("b"), service("c", "a")
	if got, want := boot(under("root", OneForOne, Sequence, a, b, c), Options{}), "a|b|c"; got != want {
		t.Errorf("in sequence: got %s, want %s", got, want)
	}
	if got, want := boot(under("root", OneForOne, Graph, a, b, c), Options{MaxParallelStarts: 1}), "a|c|b"; got != want {
		t.Errorf("one at a time: got %s, want %s", got, want)
	}
	m := through(WhenCompleted, false, service("w", "m"))
	if got, want := boot(under("root", OneForOne, Graph, typed(Transient, service("m")), a, c, m), Options{}), "m a|w c"; got != want {
		t.Errorf("after a one-shot: got %s, want %s", got, want)
	}
}

// A drawnTree is a random tree: nested supervisors of all strategies and orders,
// over services that need earlier ones.
type drawnTree struct {
	t     *rapid.T
	left  int
	names []string
}

func drawTree(t *rapid.T) SupervisorSpec {
	d := &drawnTree{t: t, left: rapid.IntRange(1, 14).Draw(t, "services")}
	return d.supervisor("root", 0)
}

func (d *drawnTree) supervisor(id string, depth int) SupervisorSpec {
	s := under(id, Strategy(rapid.IntRange(0, 2).Draw(d.t, "strategy")), Order(rapid.IntRange(0, 1).Draw(d.t, "order")))
	s.Intensity = Intensity{Max: rapid.IntRange(0, 4).Draw(d.t, "max"), Period: time.Minute}
	for i := 0; d.left > 0 && (depth == 0 || i < 3); i++ {
		if depth < 3 && rapid.IntRange(0, 3).Draw(d.t, "nests") == 0 {
			inner := nested(d.supervisor(fmt.Sprintf("%s-%d", id, i), depth+1))
			inner.Restart = Restart(rapid.IntRange(0, 1).Draw(d.t, "type"))
			s.Children = append(s.Children, inner)
			continue
		}
		s.Children = append(s.Children, d.service())
	}
	return s
}

func (d *drawnTree) service() ChildSpec {
	d.left--
	c := service(fmt.Sprintf("s%d", len(d.names)))
	c.Restart = []Restart{Permanent, Permanent, Permanent, Transient, Temporary}[rapid.IntRange(0, 4).Draw(d.t, "type")]
	for _, n := range d.names {
		if rapid.IntRange(0, 3).Draw(d.t, "needs") > 0 {
			continue
		}
		c.DependsOn = append(c.DependsOn, Dependency{
			On: ChildID(n), Condition: Condition(rapid.IntRange(0, 1).Draw(d.t, "condition")), Restart: rapid.IntRange(0, 4).Draw(d.t, "edge") > 0,
		})
	}
	if rapid.Bool().Draw(d.t, "delayed") {
		c = delayed(time.Second, c)
	}
	if rapid.IntRange(0, 3).Draw(d.t, "own limit") == 0 {
		c = limited(rapid.IntRange(0, 2).Draw(d.t, "own max"), c)
		c.OnExhausted = OnExhausted(rapid.IntRange(0, 2).Draw(d.t, "exhausted"))
	}
	d.names = append(d.names, string(c.ID))
	return c
}

// TestPredictionIsWhatComesToPass compares predictions with a node whose starts
// and stops take their time, each a different one.
func TestPredictionIsWhatComesToPass(t *testing.T) {
	for range 2 { // 200 graphs
		rapid.Check(t, func(rt *rapid.T) { checkPrediction(t, rt) })
	}
}

func checkPrediction(t *testing.T, rt *rapid.T) {
	t.Helper()
	root := drawTree(rt)
	tree, err := Compile(root)
	if err != nil {
		rt.Skip(err.Error()) // an order that no list respects
	}
	w := newWorld(t, root, Options{Seed: rapid.Uint64().Draw(rt, "seed")})
	for s := range tree.Root.Services {
		id := s.Spec.ID
		w.startIn[id] = time.Duration(rapid.IntRange(0, 20).Draw(rt, "start")) * time.Millisecond
		w.readyIn[id] = time.Duration(rapid.IntRange(0, 20).Draw(rt, "ready")) * time.Millisecond
		w.stopIn[id] = time.Duration(rapid.IntRange(0, 20).Draw(rt, "stop")) * time.Millisecond
	}
	id := rapid.SampledFrom(tree.StartOrder).Draw(rt, "who").Spec.ID
	kind := rapid.SampledFrom([]ExitKind{Abnormal, Normal}).Draw(rt, "kind")
	times := rapid.IntRange(1, 4).Draw(rt, "times")
	p, err := Predict(tree, Options{}, id, kind, times)
	if err != nil {
		rt.Fatal(err)
	}
	w.boot()
	if w.states() != "" || len(newForecast(tree, Options{}, "").alive) != len(tree.StartOrder) {
		rt.Skip("not all services run; Predict starts from a node where they do")
	}
	ends, last := 0, 0
	for ; ends < times && w.alive(id); ends++ {
		w.take()
		last = len(w.notices)
		w.exit(id, w.life(id).inc, kind)
		w.run(20 * time.Second)
	}
	if ends != p.Ends {
		rt.Fatalf("%s ended %d times, predicted %d", id, ends, p.Ends)
	}
	rt.Log(w.take())
	comparePrediction(rt, w, p, w.notices[last:])
	if v := w.view(id); v.State != p.Child.State {
		rt.Errorf("%s is %s, predicted %s", id, v.State, p.Child.State)
	}
	if (w.ended != nil) != p.Ended {
		rt.Errorf("the node ended: %v, predicted %v", w.ended != nil, p.Ended)
	}
}

// comparePrediction compares who was stopped and started, and that no wave came
// before an earlier one that it has to wait for.
func comparePrediction(t *rapid.T, w *world, p Prediction, notices []Notice) {
	var stopped, started, gaveUp []ChildID
	for _, n := range notices {
		switch n.Type {
		case ServiceStopping:
			stopped = append(stopped, n.Service)
		case ServiceStarting:
			started = append(started, n.Service)
		case SupervisorGaveUp:
			gaveUp = append(gaveUp, n.Supervisor)
		}
	}
	for _, c := range []struct {
		what      string
		got, want []ChildID
	}{{"stopped", stopped, slices.Concat(p.Stop...)}, {"started", started, slices.Concat(p.Start...)}, {"gave up", gaveUp, p.GaveUp}} {
		if diff := cmp.Diff(byName(c.want), byName(c.got)); diff != "" {
			t.Errorf("%s (-predicted +came to pass):\n%s", c.what, diff)
		}
	}
	for _, s := range notices {
		if s.Service != "" && slices.Contains(p.Untouched, s.Service) && s.Type != ServiceWaiting {
			t.Errorf("%s was to be untouched: %s", s.Service, s.Type)
		}
	}
	inOrder(t, w, "stopped", stopped, p.Stop, func(later, earlier *child) bool { return needs(earlier, later) })
	inOrder(t, w, "started", started, p.Start, func(later, earlier *child) bool { return needs(later, earlier) })
}

// inOrder asserts that of two services one of which must come first, the one of
// the earlier predicted wave did.
func inOrder(t *rapid.T, w *world, what string, got []ChildID, waves [][]ChildID, after func(later, earlier *child) bool) {
	for i, wave := range waves {
		for _, later := range wave {
			for _, earlier := range slices.Concat(waves[:i]...) {
				l, e := w.m.children[later], w.m.children[earlier]
				if after(l, e) && slices.Index(got, later) < slices.Index(got, earlier) {
					t.Errorf("%s was %s before %s", later, what, earlier)
				}
			}
		}
	}
}

func needs(d, p *child) bool {
	return slices.ContainsFunc(d.needs, func(l link) bool { return l.child == p })
}

func byName(ids []ChildID) []ChildID {
	out := append([]ChildID{}, ids...)
	slices.Sort(out)
	return out
}
