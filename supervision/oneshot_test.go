package supervision

import (
	"strings"
	"testing"
	"time"
)

func TestOneShots(t *testing.T) {
	migrate := typed(Transient, service("migrate", "db"))
	web := through(WhenCompleted, false, service("web", "migrate"))
	tree := func(order Order) SupervisorSpec {
		return under("root", RestForOne, order, service("db"), migrate, web)
	}
	for _, order := range []Order{Graph, Sequence} {
		w := newWorld(t, tree(order), Options{})
		w.finishes["migrate"] = true
		w.boot()
		w.want("+db +migrate +web")
		w.wantStates("migrate:completed")
		w.crash("db")
		w.run(0)
		if order == Graph {
			w.want("*db +db") // no edge of web's leads to db but through migrate
		} else {
			w.want("*db -web +db +web")
		}
		call := w.startUp("migrate") // only a person runs it again
		w.run(0)
		w.want("+migrate")
		w.wantReply(call, "")
		w.wantStates("migrate:completed")
		call = w.startUp("web")
		w.run(0)
		w.want("")
		w.wantReply(call, "")
		w.restart("migrate")
		w.run(0)
		w.want("+migrate")
	}
}

func TestOneShotThatFailsIsRetriedAndTheOthersWait(t *testing.T) {
	migrate := typed(Transient, limited(1, service("migrate")))
	w := newWorld(t, under("root", RestForOne, Graph, migrate, through(WhenCompleted, false, service("web", "migrate"))), Options{BestEffort: true})
	w.finishes["migrate"] = true
	w.failures["migrate"] = 2
	w.boot()
	w.want("+migrate !migrate +migrate !migrate")
	w.wantStates("migrate:failed web:waiting")
	w.startUp("web") // starts what it needs
	w.run(0)
	w.want("+migrate +web")
}

func TestStartedConditionHoldsBeforeHealth(t *testing.T) {
	w := newWorld(t, under("root", RestForOne, Graph, service("p"), through(WhenStarted, true, service("d", "p"))), Options{})
	w.startIn["p"], w.readyIn["p"] = time.Second, time.Hour
	w.send(Boot{})
	w.run(999 * time.Millisecond)
	w.want("+p")
	w.run(time.Millisecond)
	w.want("+d")
}

func TestUnhealthyIsShownAndStopsNobody(t *testing.T) {
	w := booted(t, pair(service("p"), service("d", "p")))
	w.health("p", false)
	w.wantStates("p:unhealthy")
	if v := w.view("p"); v.Reason != ReasonProbe || v.Detail != "probe" || v.Healthy {
		t.Errorf("%+v", v)
	}
	w.crash("d")
	w.run(time.Minute)
	w.want("*d") // started later it waits
	w.health("p", true)
	w.run(0)
	w.want("+d")
	w.wantStates("")
	w.health("p", true) // no news
	if got, want := w.types("p"), "starting started ready unhealthy healthy"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOneShotStaysDoneInANewLifeOfItsSupervisor(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		n := under("n", OneForOne, order, typed(Transient, service("migrate")), through(WhenCompleted, false, service("web", "migrate")), service("db"))
		w := newWorld(t, under("root", OneForOne, order, nested(intense(n, 0))), Options{})
		w.finishes["migrate"] = true
		w.boot()
		w.take()
		w.crash("db")
		w.run(0)
		w.want("*db -web +web +db")
		w.wantStates("migrate:completed")
	}
}

// TestWhoHasCompletedIsNotNamedAmongThoseThatRestart: it stays as it is.
func TestWhoHasCompletedIsNotNamedAmongThoseThatRestart(t *testing.T) {
	w := newWorld(t, under("root", RestForOne, Graph, service("db"), typed(Transient, service("migrate", "db")),
		through(WhenCompleted, false, service("web", "migrate")), service("api", "db")), Options{BestEffort: true})
	w.finishes["migrate"] = true
	w.boot()
	w.crash("db")
	w.run(time.Minute)
	for _, n := range w.notices {
		if n.Type == SupervisorRestarting && n.Message != "restarts db and with it api" {
			t.Errorf("got %q, want that db and api are restarted", n.Message)
		}
	}
	if got := w.chain(ServiceStarting, "api"); !strings.Contains(got, "restarting") {
		t.Errorf("api was started as %s, want by a restart", got)
	}
}
