package supervision

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestReports(t *testing.T) {
	tests := []struct {
		name string
		tree SupervisorSpec
		do   func(w *world)
		want string
	}{
		{"every end of a permanent child", list(service("a")), func(w *world) { w.finish("a") }, "child_terminated of a"},
		{"no clean one of a transient", list(typed(Transient, service("a"))), func(w *world) { w.finish("a") }, ""},
		{"an abnormal one of a temporary", list(typed(Temporary, service("a"))), func(w *world) { w.crash("a") }, "child_terminated of a"},
		{
			"a failed start, in sequence", list(service("a")),
			func(w *world) { w.failures["a"] = 1; w.crash("a") }, "child_terminated of a, start_error of a",
		},
		{
			"and in graph", under("root", OneForOne, Graph, service("a")),
			func(w *world) { w.failures["a"] = 1; w.crash("a") }, "child_terminated of a, start_error of a",
		},
		{"giving up", intense(list(service("a")), 0), func(w *world) { w.crash("a") }, "child_terminated of a, shutdown of a"},
		{
			"found dead at its turn, in sequence", under("root", OneForAll, Sequence, service("a"), service("b"), service("c")),
			func(w *world) { w.stopIn["c"] = time.Second; w.crash("a"); w.crash("b") }, "child_terminated of a, shutdown_error of b",
		},
		{
			"dead before its turn, in graph", under("root", RestForOne, Graph, service("a"), service("b", "a"), service("c", "b")),
			func(w *world) { w.stopIn["c"] = time.Second; w.crash("a"); w.crash("b") }, "child_terminated of a, shutdown_error of b",
		},
		{
			"stopped otherwise than asked", list(service("a")),
			func(w *world) {
				w.deaf["a"] = true
				w.stop("a")
				w.life("a").alive = false
				w.send(ChildExited{ID: "a", Incarnation: 1, Kind: ShutdownExit, Detail: "SIGKILL", Unexpected: true})
			}, "shutdown_error of a",
		},
		{
			"a start that fails while it is to stop", list(service("a")),
			func(w *world) {
				w.deaf["a"], w.failures["a"], w.startIn["a"] = true, 1, time.Second
				w.crash("a")
				w.run(0)
				w.send(ShutDown{})
			}, "child_terminated of a, start_error of a",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := booted(t, tt.tree)
			tt.do(w)
			w.run(time.Minute)
			if got := w.reported(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestStatesOfSupervisors(t *testing.T) {
	w := newWorld(t, list(nested(intense(under("n", OneForOne, Sequence, service("a")), 0))), Options{})
	w.boot()
	w.crash("a")
	w.run(0)
	w.send(ShutDown{})
	w.run(0)
	var got []string
	for _, s := range w.supervisors {
		got = append(got, fmt.Sprintf("%s/%d %s", s.ID, s.Incarnation, s.State))
	}
	want := "n/1 running, root/1 running, n/1 stopped, n/2 running, n/2 stopping, n/2 stopped, root/1 stopped"
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestHeldMailboxIsServedInOrder(t *testing.T) {
	n := under("n", OneForOne, Sequence, service("x"), service("y"))
	w := booted(t, list(service("a"), nested(n)))
	w.send(Freeze{"n"})
	w.send(Freeze{"a"}) // has no mailbox
	w.crash("x")
	w.run(0)
	count := w.manage(ManageCount, "n", "")
	stop := w.manage(ManageTerminate, "root", "n")
	w.run(time.Minute)
	w.want("*x")
	w.wantManaged(count, "no answer")
	w.send(Thaw{"n"})
	w.run(0)
	w.want("+x -y -x") // its end comes before the order to stop
	w.wantManaged(count, "ok")
	w.wantManaged(stop, "ok")
}

func TestHeldMailboxOfTheRoot(t *testing.T) {
	w := booted(t, list(service("a"), service("b")))
	w.send(Freeze{"root"})
	stop := w.manage(ManageTerminate, "root", "a")
	w.crash("a")
	w.send(ShutDown{Cause: 1})
	w.run(0)
	w.want("*a")
	w.send(Thaw{"root"})
	w.run(0)
	w.want("-b")
	w.wantManaged(stop, "ok")
	if got := w.reported(); got != "shutdown_error of a" {
		t.Errorf("reported %s", got)
	}
	if w.ended == nil || w.ended.Why != EndOrdered {
		t.Errorf("ended %+v", w.ended)
	}
}

// An end is put down to an operator's signal if that signal ended the process,
// however late, or if it comes soon after it, unless another signal was sent.
func TestAnEndIsPutDownToTheSignalThatExplainsIt(t *testing.T) {
	for _, tt := range []struct {
		after time.Duration
		died  string
		want  string
	}{
		{0, "", "a starting < a exited < a command"},
		{10 * time.Second, "SIGSEGV", "a starting < a exited < a command"},
		{11 * time.Second, "SIGSEGV", "a starting < a exited"},
		{time.Hour, "SIGUSR1", "a starting < a exited < a command"},
		{0, "SIGKILL", "a starting < a exited"}, // somebody else's, or for want of memory
		{time.Second, "SIGTERM", "a starting < a exited"},
	} {
		w := booted(t, list(service("a")))
		w.send(Note{Notice{Type: OperatorCommand, Service: "a", Message: "signal a SIGUSR1", Attrs: []Attr{{"signal", "SIGUSR1"}}}})
		w.run(tt.after)
		w.life("a").alive = false
		w.send(ChildExited{ID: "a", Incarnation: 1, Kind: Abnormal, Reason: ReasonSignal, Attrs: []Attr{{"signal", tt.died}}})
		w.run(0)
		if got := w.chain(ServiceStarting, "a"); got != tt.want {
			t.Errorf("died of %q after %v: got %s, want %s", tt.died, tt.after, got, tt.want)
		}
	}
}

func TestPatientSupervisorsFinishARestartBeforeTheyStop(t *testing.T) {
	tree := list(service("0"), nested(under("n", OneForAll, Sequence, service("a"), service("b"))), service("c"))
	for patient, want := range map[bool]string{false: "*a -b +a -c -a -0", true: "*a -b +a -c +b -b -a -0"} {
		w := newWorld(t, tree, Options{Patient: patient})
		w.boot()
		w.take()
		w.startIn["a"] = time.Second
		w.crash("a")
		w.run(500 * time.Millisecond)
		w.send(ShutDown{})
		w.run(time.Minute)
		w.want(want)
		if w.ended == nil {
			t.Error("the node has not ended")
		}
	}
}

func TestPatientSupervisorSupervisesUntilItsTurn(t *testing.T) {
	w := newWorld(t, list(nested(under("n", OneForAll, Sequence, service("a"), service("b"))), service("c")), Options{Patient: true})
	w.boot()
	w.take()
	w.stopIn["c"] = time.Second
	w.send(ShutDown{})
	w.run(0)
	w.crash("a")
	w.run(time.Minute)
	w.want("-c *a -b +a +b -b -a")
}

func TestRetryIsDroppedWhereAGroupTakesTheChildOver(t *testing.T) {
	w := booted(t, under("root", RestForOne, Sequence, service("a"), service("b")))
	w.failures["a"], w.failures["b"] = 1, 1
	w.send(Freeze{"root"})
	w.crash("b", "a")
	w.send(Thaw{"root"})
	w.run(0)
	w.want("*b *a +b !b +a !a +a +b")
	if got := w.view("root").InWindow; got != 3 { // b, a, and a again
		t.Errorf("%d restarts were counted, want 3", got)
	}
}
