package supervision

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEverythingWantedComesUpAndEverythingStops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &forest{t: t, finite: map[ChildID]bool{}}
		w, root, o := f.grow()
		w.send(Boot{})
		for range f.pick("faults", 40) {
			f.fault(w)
		}
		f.calm(w)
		if w.ended == nil {
			f.checkCalm(w)
			w.send(ShutDown{})
			w.run(time.Hour)
		}
		sameAgain(t, root, o, w)
		f.checkEnded(w, root)
	})
}

// outline is a tree in a line.
func outline(s SupervisorSpec) string {
	var parts []string
	for _, c := range s.Children {
		text := string(c.ID)
		if c.Supervisor != nil {
			text = outline(*c.Supervisor)
		}
		text += []string{"", "?", "!"}[c.Restart]
		for _, d := range c.DependsOn {
			text += fmt.Sprintf(" <-%s(%s,%v)", d.On, d.Condition, d.Restart)
		}
		if c.Intensity != nil {
			text += fmt.Sprintf(" max %d", c.Intensity.Max)
		}
		parts = append(parts, text)
	}
	return fmt.Sprintf("%s %s %s max %d [%s]", s.ID, s.Strategy, s.Order, s.Intensity.Max, strings.Join(parts, ", "))
}

// sameAgain asserts that the same events at the same times give the same commands.
func sameAgain(t *rapid.T, root SupervisorSpec, o Options, w *world) {
	t.Helper()
	tree, err := Compile(root)
	if err != nil {
		t.Fatal(err)
	}
	m := New(tree, o)
	var commands []Command
	for _, e := range w.events {
		commands = append(commands, m.Step(e.at, e.ev)...)
	}
	if !reflect.DeepEqual(commands, w.commands) {
		t.Error("the same events give other commands")
	}
}

func TestNodeStopsInTheMidstOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &forest{t: t, finite: map[ChildID]bool{}}
		w, root, _ := f.grow()
		w.send(Boot{})
		for range f.pick("faults", 15) {
			f.fault(w)
		}
		w.send(ShutDown{})
		if f.pick("kill", 2) == 0 {
			w.killing = true
			w.send(KillAll{})
		}
		w.run(time.Hour)
		if w.ended == nil {
			t.Errorf("the node has not ended: %s", w.states())
		}
		if t.Failed() {
			t.Logf("%s\n%s", outline(root), w.take())
		}
	})
}

func TestEachEndIsCountedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &forest{t: t, finite: map[ChildID]bool{}, graph: true}
		w, _, _ := f.grow()
		w.send(Boot{})
		for range f.pick("faults", 30) {
			w.run(time.Duration(f.pick("pause", 3)) * 100 * time.Millisecond)
			id := f.services[f.pick("service", len(f.services)-1)]
			c := w.m.children[id]
			if !w.alive(id) {
				continue
			}
			w.stopIn[id] = time.Duration(f.pick("stop", 3)) * 200 * time.Millisecond
			judged := !c.mustStop && c.phase != stopping && c.sup.open()
			before := counters(w)
			w.crash(id)
			var counted []*child
			for x, after := range counters(w) {
				if after[0] == before[x][0] {
					continue
				}
				counted = append(counted, x)
				if after[0] != before[x][0]+1 || after[1] < 1 || after[1] > before[x][1]+1 {
					t.Errorf("the restart of %s was counted from %v to %v", x.id(), before[x], after)
				}
			}
			// The end of the last child of a supervisor that gave up is that of the supervisor.
			if len(counted) > 1 || len(counted) == 1 && !judged && counted[0].nested == nil {
				t.Errorf("the end of %s was counted %d times", id, len(counted))
			}
		}
	})
}

// counters are, for each child, its restarts and how often a restart of this
// instant stands in the window that counts them.
func counters(w *world) map[*child][2]int {
	counters := map[*child][2]int{}
	for _, c := range w.m.all()[1:] {
		counters[c] = [2]int{int(c.total), entries(w, c)}
	}
	return counters
}

// entries is how often a restart of this instant stands in the window of c, or in
// that of its supervisor.
func entries(w *world, c *child) int {
	win := &c.sup.window
	if c.spec().Intensity != nil {
		win = &c.window
	}
	n := 0
	for _, at := range win.times {
		if at.Equal(w.now) {
			n++
		}
	}
	return n
}

func TestGraphOrderOverAChainIsSequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "length")
		specs := make([]ChildSpec, n)
		for i := range specs {
			c := service(fmt.Sprint("s", i))
			if i > 0 {
				c = service(fmt.Sprint("s", i), fmt.Sprint("s", i-1))
			}
			if rapid.Bool().Draw(t, "delayed") {
				c = delayed(time.Second, c)
			}
			if rapid.IntRange(0, 3).Draw(t, "limited") == 0 {
				c = limited(rapid.IntRange(0, 3).Draw(t, "limit"), c)
			}
			specs[i] = c
		}
		graph := booted(t, under("root", RestForOne, Graph, specs...))
		list := booted(t, under("root", RestForOne, Sequence, specs...))
		both := func(do func(w *world)) { do(graph); do(list) }
		for range rapid.IntRange(1, 12).Draw(t, "faults") {
			i := rapid.IntRange(0, n-1).Draw(t, "service")
			id := ChildID(fmt.Sprint("s", i))
			failing, failures := ChildID(fmt.Sprint("s", rapid.IntRange(0, n-1).Draw(t, "failing"))), rapid.IntRange(0, 2).Draw(t, "failures")
			what, wait := rapid.IntRange(0, 5).Draw(t, "fault"), rapid.IntRange(0, 70).Draw(t, "wait")
			both(func(w *world) {
				w.failures[failing] = failures
				switch {
				case what == 0:
					w.startUp(id)
				case what == 1:
					w.stop(id)
				case what == 2:
					w.restart(id)
				case w.alive(id):
					w.crash(id)
				}
				w.run(time.Duration(wait) * time.Second)
			})
			if graph.m.root.phase == down {
				break
			}
		}
		if got, want := graph.take(), list.take(); got != want {
			t.Errorf("\ngraph    %s\nsequence %s", got, want)
		}
		for i, v := range graph.m.Snapshot(graph.now) {
			if l := list.m.Snapshot(list.now)[i]; v != l {
				t.Errorf("\ngraph    %+v\nsequence %+v", v, l)
			}
		}
	})
}
