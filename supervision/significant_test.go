package supervision

import "testing"

func significant(r Restart, id string) ChildSpec {
	c := typed(r, service(id))
	c.Significant = true
	return c
}

func auto(mode AutoShutdown, s SupervisorSpec) SupervisorSpec { s.AutoShutdown = mode; return s }

func TestAutoShutdown(t *testing.T) {
	a, b, c := significant(Transient, "a"), significant(Temporary, "b"), service("c")
	tests := []struct {
		name  string
		mode  AutoShutdown
		do    func(w *world)
		ended *Ended
	}{
		{"any: the end of one", AnySignificant, func(w *world) { w.finish("a") }, &Ended{Why: EndAutoShutdown, ID: "a", AllNormal: true}},
		{"any: a temporary one that crashes", AnySignificant, func(w *world) { w.crash("b") }, &Ended{Why: EndAutoShutdown, ID: "b"}},
		{"any: a transient one that crashes is restarted", AnySignificant, func(w *world) { w.crash("a") }, nil},
		{"all: one is not enough", AllSignificant, func(w *world) { w.finish("a") }, nil},
		{"all: the last one", AllSignificant, func(w *world) { w.finish("a", "b") }, &Ended{Why: EndAutoShutdown, ID: "b", AllNormal: true}},
		{"all: one of them not well", AllSignificant, func(w *world) { w.crash("b"); w.finish("a") }, &Ended{Why: EndAutoShutdown, ID: "a"}},
		{"others do not count", AnySignificant, func(w *world) { w.crash("c") }, nil},
		{"an operator's stop is no end", AnySignificant, func(w *world) { w.stop("a"); w.run(0) }, nil},
		{"nor one among all", AllSignificant, func(w *world) { w.finish("b"); w.stop("a"); w.run(0) }, nil},
		{"but it does not keep the last one from ending it", AllSignificant, func(w *world) { w.stop("a"); w.run(0); w.finish("b") }, &Ended{Why: EndAutoShutdown, ID: "b", AllNormal: true}},
		{"a group that stops them is no end", AnySignificant, func(w *world) { w.crash("c"); w.run(0) }, nil},
	}
	for _, tt := range tests {
		for _, order := range []Order{Graph, Sequence} {
			t.Run(tt.name+", "+order.String(), func(t *testing.T) {
				w := booted(t, auto(tt.mode, under("root", OneForAll, order, a, b, c)))
				tt.do(w)
				w.run(0)
				switch {
				case tt.ended == nil && w.ended != nil, tt.ended != nil && (w.ended == nil || *w.ended != *tt.ended):
					t.Errorf("ended %+v, want %+v", w.ended, tt.ended)
				}
			})
		}
	}
}

func TestBecomingFailedIsAnEnd(t *testing.T) {
	w := booted(t, auto(AnySignificant, under("root", OneForOne, Graph, limited(0, significant(Transient, "a")), service("b"))))
	w.crash("a")
	w.run(0)
	w.want("*a -b")
	if w.ended == nil || w.ended.Why != EndAutoShutdown || w.ended.AllNormal {
		t.Errorf("ended %+v", w.ended)
	}
}

func TestAutoShutdownOfANestedSupervisor(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		inner := auto(AllSignificant, under("n", OneForOne, order, significant(Transient, "a"), service("x")))
		permanent := booted(t, under("root", OneForOne, order, nested(inner), service("b")))
		permanent.finish("a")
		permanent.run(0)
		if order == Graph { // what has completed is not run again
			permanent.want("~a -x +x")
		} else {
			permanent.want("~a -x +a +x")
		}

		n := typed(Transient, nested(inner))
		w := booted(t, under("root", OneForOne, order, n, service("b")))
		w.finish("a")
		w.run(0)
		w.want("~a -x")
		w.wantStates("n:stopped a:completed x:stopped")

		n.Significant = true
		w = booted(t, auto(AnySignificant, under("root", OneForOne, order, n, service("b"))))
		w.finish("a")
		w.run(0)
		w.want("~a -x -b")
		if w.ended == nil || *w.ended != (Ended{Why: EndAutoShutdown, ID: "n", AllNormal: true}) {
			t.Errorf("ended %+v", w.ended)
		}
	}
}

func TestAllSignificantWaitsForOneInBackOff(t *testing.T) {
	w := booted(t, auto(AllSignificant, under("root", OneForOne, Graph, delayed(1e9, significant(Transient, "a")), significant(Transient, "b"))))
	w.crash("a")
	w.finish("b")
	w.run(0)
	w.wantStates("a:backoff b:completed")
}
