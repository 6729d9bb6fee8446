package supervision

import (
	"strings"
	"testing"
	"time"
)

func TestCauses(t *testing.T) {
	n := func(children ...ChildSpec) ChildSpec {
		return nested(intense(under("n", OneForOne, Graph, children...), 0))
	}
	chain := chainOf()
	tests := []struct {
		name string
		tree SupervisorSpec
		do   func(w *world)
		kind string
		id   ChildID
		want string
	}{
		{
			"boot", chain, func(*world) {}, ServiceReady, "web",
			"web ready < web started < web starting < api ready < api started < api starting < db ready < db started < db starting <  starting",
		},
		{
			"the node is ready", chain, func(*world) {}, NodeReady, "", " ready <  starting",
		},
		{
			"a crash is nobody's doing", chain, func(w *world) { w.crash("db") }, ServiceExited, "db", "db exited",
		},
		{
			"the restart of what crashed", chain, func(w *world) { w.crash("clock") }, ServiceStarting, "clock", "clock starting < clock exited",
		},
		{
			"a back-off", under("root", OneForOne, Graph, delayed(time.Second, service("a"))), func(w *world) { w.crash("a") },
			ServiceStarting, "a", "a starting < a backoff < a exited",
		},
		{
			"a dependent is stopped because of the crash", chain, func(w *world) { w.crash("db") }, ServiceStopped, "web",
			"web stopped < web stopping < root restarting < db exited",
		},
		{
			"and started because its dependency is back", chain, func(w *world) { w.crash("api") }, ServiceStarting, "web",
			"web starting < api ready < api started < api starting < root restarting < api exited",
		},
		{
			"a crash because it is unhealthy", chain, func(w *world) { w.health("api", false); w.crash("api") }, ServiceStarting, "api",
			"api starting < root restarting < api exited < api unhealthy",
		},
		{
			"an operator's stop", chain, func(w *world) { w.stop("api") }, ServiceStopped, "web", "web stopped < web stopping <  command",
		},
		{
			"an operator's start", chain, func(w *world) { w.stop("api"); w.run(0); w.notices = nil; w.startUp("api") }, ServiceStarting, "web",
			"web starting < api ready < api started < api starting <  command",
		},
		{
			"an operator's restart", chain, func(w *world) { w.restart("api") }, ServiceStarting, "api", "api starting < api stopped < api stopping <  command",
		},
		{
			"a failed service", under("root", RestForOne, Graph, limited(0, service("a")), service("b", "a")), func(w *world) { w.crash("a") },
			ServiceStopped, "b", "b stopped < b stopping < a failed < a exited",
		},
		{
			"a failed service that is tried again since its dependency is back", under("root", OneForOne, Graph, service("a"), limited(0, service("b", "a"))),
			func(w *world) { w.crash("b"); w.run(0); w.crash("a") }, ServiceStarting, "b", "b starting < a ready < a started < a starting < a exited",
		},
		{
			"a supervisor that gives up", under("root", OneForOne, Graph, n(service("a"), service("b"))), func(w *world) { w.crash("a") },
			ServiceStarting, "b", "b starting < root restarting < root escalated < n gave_up < a exited",
		},
		{
			"its children stop because of that", under("root", OneForOne, Graph, n(service("a"), service("b"))), func(w *world) { w.crash("a") },
			ServiceStopped, "b", "b stopped < b stopping < root escalated < n gave_up < a exited",
		},
		{
			"the end of the node", intense(under("root", OneForOne, Graph, service("a"), service("b")), 0), func(w *world) { w.crash("a") },
			NodeStopped, "", " stopped <  stopping < root gave_up < a exited",
		},
		{
			"a shut down", chain, func(w *world) { w.send(ShutDown{Cause: w.note(OperatorCommand)}) }, ServiceStopped, "db",
			"db stopped < db stopping <  stopping <  command",
		},
		{
			"an automatic shutdown", auto(AnySignificant, under("root", OneForOne, Graph, significant(Transient, "a"), service("b"))),
			func(w *world) { w.finish("a") }, ServiceStopped, "b", "b stopped < b stopping <  stopping < a completed < a exited",
		},
		{
			"what was recorded in a pause", under("root", OneForOne, Graph, service("a")),
			func(w *world) { w.operate(OpPause, false, "root"); w.crash("a"); w.operate(OpResume, false, "root") },
			ServiceStarting, "a", "a starting < root resumed <  command",
		},
		{
			"a stuck service", chain, func(w *world) { w.deaf["clock"] = true; w.stop("clock"); w.run(0); w.stick("clock") },
			ServiceStuck, "clock", "clock stuck < clock stopping <  command",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := booted(t, tt.tree)
			tt.do(w)
			w.run(time.Minute)
			if got := w.chain(tt.kind, tt.id); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestNoticesAreNumberedWithoutGapsAndNameAnEarlierCause(t *testing.T) {
	w := booted(t, nine())
	w.crash("identity")
	w.run(0)
	w.stop("storage")
	w.run(0)
	w.send(ShutDown{Cause: w.note(OperatorCommand)})
	w.run(0)
	for i, n := range w.notices {
		if n.Seq != uint64(i)+1 || n.Cause >= n.Seq {
			t.Errorf("notice %d: %+v", i, n)
		}
		if n.Cause == 0 && n.Type != NodeStarting && n.Type != OperatorCommand && n.Type != ServiceExited {
			t.Errorf("%s of %s has no cause", n.Type, n.Service)
		}
	}
}

func TestNoticesSayWhat(t *testing.T) {
	w := booted(t, under("root", RestForOne, Graph, delayed(time.Second, limited(1, service("a"))), service("b", "a")))
	w.crash("a")
	w.run(2 * time.Second)
	w.crash("a")
	w.run(0)
	var got []string
	for _, n := range w.notices[len(w.notices)-16:] {
		if n.Message != "" && n.Message != "exit" {
			got = append(got, n.Type+": "+n.Message)
		}
	}
	want := `supervisor.restarting: restarts a and with it b
service.backoff: next start in 1s
service.waiting: for a (healthy)
service.failed: exit; it was restarted 1 time within 1h already
service.waiting: for a (healthy)`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if got, want := w.types("root"), "restarting"; got != want {
		t.Errorf("root: got %s, want %s", got, want)
	}
}
