package supervision

import (
	"fmt"
	"testing"
	"time"
)

// layered is a tree of n services over five layers under four supervisors, each
// service needing two of the layer below.
func layered(n int, order Order) SupervisorSpec {
	root := under("root", RestForOne, order)
	root.Intensity = Intensity{Max: 1 << 30, Period: time.Minute}
	width := max(n/5, 1)
	var group []ChildSpec
	for i := range n {
		c := service(fmt.Sprint("s", i))
		if i >= width {
			c = service(fmt.Sprint("s", i), fmt.Sprint("s", i-width), fmt.Sprint("s", i-width+(i+1)%width-i%width))
		}
		group = append(group, c)
		if len(group) == width {
			s := under(fmt.Sprint("n", i/width), RestForOne, order, group...)
			s.Intensity = root.Intensity
			root.Children = append(root.Children, nested(s))
			group = nil
		}
	}
	root.Children = append(root.Children, group...)
	return root
}

// rig answers commands at once, with nothing in between.
type rig struct {
	m     *Machine
	now   time.Time
	alive map[ChildID]uint64
	queue []Event
}

func newRig(b *testing.B, tree *Tree) *rig {
	b.Helper()
	r := &rig{m: New(tree, Options{}), now: time.Unix(1000, 0), alive: map[ChildID]uint64{}}
	r.send(Boot{})
	if len(r.alive) != len(tree.StartOrder) {
		b.Fatalf("%d of %d services run", len(r.alive), len(tree.StartOrder))
	}
	return r
}

func (r *rig) send(ev Event) {
	r.queue = append(r.queue, ev)
	for len(r.queue) > 0 {
		ev, r.queue = r.queue[0], r.queue[1:]
		r.now = r.now.Add(time.Microsecond)
		for _, c := range r.m.Step(r.now, ev) {
			switch c := c.(type) {
			case StartChild:
				r.alive[c.ID] = c.Incarnation
				r.queue = append(r.queue, ChildStarted{ID: c.ID, Incarnation: c.Incarnation}, ChildReady(c))
			case StopChild:
				delete(r.alive, c.ID)
				r.queue = append(r.queue, ChildExited{ID: c.ID, Incarnation: c.Incarnation, Kind: ShutdownExit})
			case AdoptChild, KillChild, Wake, Reply, Held, Booted, Ended, Notice, Report, Managed, SupervisorState, ChildJoined, ChildLeft, RolledOut:
			}
		}
	}
}

func mustCompile(b *testing.B, s SupervisorSpec) *Tree {
	b.Helper()
	tree, err := Compile(s)
	if err != nil {
		b.Fatal(err)
	}
	return tree
}

// BenchmarkStep is a crash and the restart of what crashed, in a tree of 1,000.
func BenchmarkStep(b *testing.B) {
	for _, order := range []Order{Graph, Sequence} {
		b.Run(order.String(), func(b *testing.B) {
			r := newRig(b, mustCompile(b, layered(1000, order)))
			id := ChildID("s999") // nobody needs it
			b.ReportAllocs()
			for b.Loop() {
				r.send(ChildExited{ID: id, Incarnation: r.alive[id], Kind: Abnormal})
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			spec := layered(n, Graph)
			b.ReportAllocs()
			for b.Loop() {
				mustCompile(b, spec)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/service")
		})
	}
}

// BenchmarkLife is a boot and a stop of the whole node.
func BenchmarkLife(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		for _, order := range []Order{Graph, Sequence} {
			b.Run(fmt.Sprint(order, "/", n), func(b *testing.B) {
				tree := mustCompile(b, layered(n, order))
				b.ReportAllocs()
				for b.Loop() {
					newRig(b, tree).send(ShutDown{})
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/service")
			})
		}
	}
}

// BenchmarkAllCrash is the crash of every service of a flat node at once.
func BenchmarkAllCrash(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		for _, order := range []Order{Graph, Sequence} {
			b.Run(fmt.Sprint(order, "/", n), func(b *testing.B) {
				root := under("root", OneForOne, order)
				root.Intensity.Max = 1 << 30
				for i := range n {
					root.Children = append(root.Children, service(fmt.Sprint("s", i)))
				}
				r := newRig(b, mustCompile(b, root))
				ids := make([]ChildID, 0, n)
				for id := range r.alive {
					ids = append(ids, id)
				}
				b.ReportAllocs()
				for b.Loop() {
					for _, id := range ids {
						r.send(ChildExited{ID: id, Incarnation: r.alive[id], Kind: Abnormal})
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/service")
			})
		}
	}
}
