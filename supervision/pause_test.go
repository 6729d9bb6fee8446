package supervision

import (
	"testing"
	"time"
)

func TestPauseRecordsEndsAndRestartsNothingUntilResume(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", OneForOne, order, service("a"), typed(Transient, service("b")), typed(Temporary, service("c"))))
		call := w.operate(OpPause, false, "root")
		w.wantReply(call, "")
		if !w.view("root").Paused {
			t.Error("root does not say that it is paused")
		}
		w.operate(OpPause, false, "root") // again
		w.crash("a")
		w.finish("b")
		w.crash("c")
		w.run(time.Hour)
		w.want("*a ~b *c")
		w.wantStates("a:stopped b:stopped c:stopped")
		w.operate(OpResume, false, "root")
		w.run(0)
		w.want("+a")
		w.wantStates("b:completed c:failed")
		if got, want := w.types("root"), "paused resumed"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := w.view("root").InWindow; got != 1 {
			t.Errorf("%d restarts were counted, want 1", got)
		}
	}
}

func TestPauseOfASupervisorReachesTheOnesBelow(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", OneForOne, order, nested(under("n", OneForOne, order, service("a"))), service("b")))
		w.operate(OpPause, false, "root")
		w.operate(OpPause, false, "n")
		w.crash("a")
		w.operate(OpResume, false, "root")
		w.run(0)
		w.want("*a") // n is paused itself
		w.crash("b")
		w.run(0)
		w.want("*b +b")
		w.operate(OpResume, false, "n")
		w.run(0)
		w.want("+a")
	}
}

func TestOperatorStartsUnderPause(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("p"), service("d", "p"), service("e", "d")))
		w.operate(OpPause, false, "root")
		w.crash("d", "p")
		call := w.startUp("d") // and what it needs
		w.run(0)
		w.want("*d *p +p +d")
		w.wantReply(call, "")
		call = w.restart("p") // and what depends on it
		w.run(0)
		w.want("-e -d -p +p +d +e")
		w.wantReply(call, "")
		w.crash("d")
		call = w.stop("d")
		w.run(0)
		w.wantReply(call, "")
		w.startUp("d")
		w.run(0)
		w.want("*d -e +d")
		w.operate(OpResume, false, "root")
		w.run(0)
		w.want("+e")
		w.wantStates("")
	}
}

func TestStartThatEndsUnderPauseIsAnswered(t *testing.T) {
	w := booted(t, under("root", RestForOne, Graph, service("p")))
	w.operate(OpPause, false, "root")
	w.failures["p"] = 1
	call := w.restart("p")
	w.run(0)
	w.wantReply(call, "p has ended while its supervisor is paused: cannot start")
	w.operate(OpResume, false, "root")
	w.run(0)
	w.want("-p +p !p +p")
}

func TestPauseDuringARestartAndDuringABoot(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("p"), service("d", "p")))
		w.stopIn["d"] = time.Second
		w.crash("p")
		w.operate(OpPause, false, "root")
		w.run(time.Minute)
		w.want("*p -d")
		w.operate(OpResume, false, "root")
		w.run(0)
		w.want("+p +d")

		w = newWorld(t, under("root", RestForOne, order, service("p"), service("d", "p")), Options{})
		w.readyIn["p"] = time.Second
		w.send(Boot{})
		w.operate(OpPause, false, "root")
		w.run(time.Minute)
		w.want("+p")
		w.wantStates("d:waiting")
		w.operate(OpResume, false, "root")
		w.run(0)
		w.want("+d")
	}
}

func TestPauseIsForSupervisors(t *testing.T) {
	w := booted(t, chainOf())
	w.wantReply(w.operate(OpPause, false, "root", "api"), "api is a service; only a supervisor can be paused")
	if w.view("root").Paused {
		t.Error("half of the command was carried out")
	}
}

func TestSupervisorThatGivesUpUnderAPausedParentIsRestartedOnResume(t *testing.T) {
	w := booted(t, under("root", OneForOne, Graph, nested(intense(under("n", OneForOne, Graph, service("a"), service("b")), 0))))
	w.operate(OpPause, false, "root")
	w.crash("a") // n is below: recorded
	w.run(0)
	w.want("*a")
	w.operate(OpResume, false, "root")
	w.run(0)
	w.want("-b +a +b")
	w.wantStates("")
}
