package supervision

import (
	"testing"
	"time"
)

// The start of a temporary child fails while its supervisor, which works in
// sequence, starts it for an operator; it is not tried again.
func TestATemporaryChildThatCannotStartIsNotRetried(t *testing.T) {
	p := typed(Temporary, service("p"))
	w := booted(t, under("root", RestForOne, Sequence, p))
	w.failures["p"] = 1
	w.restart("p")
	w.run(time.Minute)
	w.wantStates("p:failed")
}

// A child may become ready between the decision to stop it and the order.
func TestAStopIsNotPutDownToAStart(t *testing.T) {
	b := service("b")
	c := service("c")
	c.DependsOn = []Dependency{{On: "b", Condition: WhenStarted, Restart: true}}
	w := newWorld(t, under("root", RestForOne, Graph, b, c), Options{})
	w.readyIn["b"] = 65 * time.Second
	w.stopIn["c"] = 10 * time.Second
	w.boot()
	w.stop("b")
	w.run(time.Minute)
	for _, n := range w.notices {
		if n.Type == ServiceStopping && n.Service == "b" {
			for _, why := range w.notices {
				if why.Seq == n.Cause && why.Type == ServiceReady {
					t.Errorf("b stops because of %s %s", why.Service, why.Type)
				}
			}
		}
	}
}

// A nested supervisor that is to stop, but whose turn has not come, starts nothing.
func TestAnOrderToStopOvertakesARestart(t *testing.T) {
	b := under("b", OneForAll, Sequence, service("x"), service("y"))
	w := booted(t, under("root", OneForOne, Sequence, nested(b), service("z")))
	w.stopIn["y"], w.stopIn["z"] = 5*time.Second, 10*time.Second
	w.crash("x")
	w.send(ShutDown{})
	w.run(time.Minute)
	stopping := false
	for _, n := range w.notices {
		stopping = stopping || n.Type == NodeStopping
		if stopping && n.Type == ServiceStarting {
			t.Errorf("%s starts while the node stops", n.Service)
		}
	}
}
