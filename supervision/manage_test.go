package supervision

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (w *world) manage(verb Verb, sup, id ChildID) uint64 {
	w.calls++
	w.send(Manage{Call: w.calls, Supervisor: sup, Verb: verb, Child: id, ByProcess: true, Spec: service(string(id))})
	return w.calls
}

// wantManaged asserts how a call was answered: "ok", the incarnation started, or
// the code of the error.
func (w *world) wantManaged(call uint64, want string) {
	w.t.Helper()
	a, ok := w.managed[call]
	got := "ok"
	var failed *ManageError
	switch {
	case !ok:
		got = "no answer"
	case errors.As(a.Err, &failed):
		got = string(failed.Code)
	case a.Err != nil:
		got = a.Err.Error()
	case a.Child != "":
		got = fmt.Sprintf("%s/%d", a.Child, a.Incarnation)
	}
	if got != want {
		w.t.Errorf("call %d: got %q, want %q", call, got, want)
	}
}

// listed is which_children of a supervisor.
func (w *world) listed(sup ChildID) string {
	call := w.manage(ManageList, sup, "")
	var names []string
	for _, c := range w.managed[call].Children {
		names = append(names, fmt.Sprintf("%s:%s", c.ID, c.Status))
	}
	return strings.Join(names, " ")
}

func (w *world) reported() string {
	var out []string
	for _, r := range w.reports {
		out = append(out, fmt.Sprintf("%s of %s", r.Context, r.Child))
	}
	w.reports = nil
	return strings.Join(out, ", ")
}

func list(children ...ChildSpec) SupervisorSpec {
	return under("root", OneForOne, Sequence, children...)
}

func TestManagementCallsAndTheirErrors(t *testing.T) {
	w := booted(t, list(service("a"), typed(Temporary, service("t")), nested(under("n", OneForOne, Sequence, service("x")))))
	w.finish("t")
	w.run(0)
	tests := []struct {
		verb Verb
		id   ChildID
		want string
	}{
		{ManageStart, "a", "already_started"},
		{ManageRestart, "a", "running"},
		{ManageDelete, "a", "running"},
		{ManageTerminate, "nobody", "not_found"},
		{ManageRestart, "nobody", "not_found"},
		{ManageDelete, "nobody", "not_found"},
		{ManageSpec, "nobody", "not_found"},
		{ManageTerminate, "a", "ok"},
		{ManageTerminate, "a", "ok"},
		{ManageStart, "a", "already_present"},
		{ManageRestart, "a", "a/2"},
		{ManageTerminate, "a", "ok"},
		{ManageDelete, "a", "ok"},
		{ManageRestart, "a", "not_found"},
		{ManageStart, "a", "a/3"},
		{ManageRestart, "t", "not_found"},
		{ManageStart, "t", "t/2"},
		{ManageStart, "x", "invalid"}, // a child of n
		{ManageTerminate, "n", "ok"},
		{ManageRestart, "n", "n/2"},
		{ManageTerminate, "t", "ok"},
	}
	for i, tt := range tests {
		call := w.manage(tt.verb, "root", tt.id)
		w.run(0)
		if t.Failed() {
			t.Fatalf("in call %d", i)
		}
		w.wantManaged(call, tt.want)
	}
	w.want("~t -a +a -a +a +t -x +x -t")
	if got, want := w.listed("root"), "t:undefined a:running n:running"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := ChildCount{Specs: 3, Active: 2, Supervisors: 1, Workers: 2}
	if got := w.managed[w.manage(ManageCount, "root", "")].Count; got != want {
		t.Errorf("count %+v, want %+v", got, want)
	}
	if got := w.managed[w.manage(ManageSpec, "root", "n")].Spec; got.Supervisor == nil || got.ID != "n" {
		t.Errorf("spec %+v", got)
	}
	w.send(ShutDown{})
	w.run(0)
	w.want("-a -x")
}

func TestManagementCallsThatNobodyServes(t *testing.T) {
	w := booted(t, list(service("a"), nested(under("g", OneForOne, Graph, service("b"))), typed(Transient, nested(intense(under("n", OneForOne, Sequence, service("x")), 0)))))
	w.crash("x") // n gives up for good
	w.run(0)
	for sup, want := range map[ChildID]string{
		"a": "no service or supervisor is called a", "nobody": "no service or supervisor is called nobody", "g": "invalid", "n": "no_supervisor",
	} {
		w.wantManaged(w.manage(ManageCount, sup, ""), want)
	}
	if got, want := (&ManageError{CodeInvalid, "because"}).Error(), "invalid: because"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := (&ManageError{Code: CodeRunning}).Error(), "running"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCallsAreRefusedWhenTheSupervisorEnds(t *testing.T) {
	w := booted(t, list(service("a"), service("b")))
	w.stopIn["a"] = time.Second
	busy := w.manage(ManageTerminate, "root", "a")
	waiting := w.manage(ManageTerminate, "root", "b")
	w.send(ShutDown{})
	w.wantManaged(busy, "no_supervisor")
	w.wantManaged(waiting, "no_supervisor")
	w.run(time.Minute)
	if w.ended == nil {
		t.Error("the node has not ended")
	}
}

func TestCallsWaitForTheirTurn(t *testing.T) {
	w := booted(t, list(service("a"), service("b")))
	w.stopIn["a"] = time.Second
	first := w.manage(ManageTerminate, "root", "a")
	second := w.manage(ManageRestart, "root", "a")
	w.crash("b")
	w.run(999 * time.Millisecond)
	w.want("-a *b")
	w.wantManaged(first, "no answer")
	w.run(time.Second)
	w.want("+a +b")
	w.wantManaged(first, "ok")
	w.wantManaged(second, "a/2")
}

func TestStartThatACallAskedForIsNotTriedAgain(t *testing.T) {
	w := booted(t, list(service("a")))
	w.failures["x"] = 1
	call := w.manage(ManageStart, "root", "x")
	w.run(0)
	w.wantManaged(call, "start_failed")
	if got := w.listed("root"); got != "a:running" {
		t.Errorf("children: %s", got)
	}
	w.manage(ManageTerminate, "root", "a")
	w.run(0)
	w.failures["a"] = 1
	call = w.manage(ManageRestart, "root", "a")
	w.run(time.Hour)
	w.wantManaged(call, "start_failed")
	w.want("+x !x -a +a !a")
	if got := w.listed("root"); got != "a:undefined" {
		t.Errorf("children: %s", got)
	}
	w.failures["t"] = 1
	w.calls++
	w.send(Manage{Call: w.calls, Supervisor: "root", Verb: ManageStart, Spec: typed(Temporary, service("t"))})
	w.run(0)
	w.wantManaged(w.calls, "start_failed")
	if got := w.reported(); got != "" {
		t.Errorf("reported %s", got)
	}
	if got := w.view("root").InWindow; got != 0 {
		t.Errorf("%d restarts were counted", got)
	}
}

func TestStartThatACallAskedForAndThatDeclines(t *testing.T) {
	w := booted(t, list(service("a")))
	decline := func(id ChildID, r Restart) uint64 {
		w.calls++
		w.send(Manage{Call: w.calls, Supervisor: "root", Verb: ManageStart, Spec: typed(r, service(string(id)))})
		w.life(id).alive = false
		w.send(ChildIgnored{ID: id, Incarnation: 1})
		return w.calls
	}
	w.wantManaged(decline("p", Permanent), "ok")
	w.wantManaged(decline("t", Temporary), "ok")
	if got := w.listed("root"); got != "p:undefined a:running" {
		t.Errorf("children: %s", got)
	}
}

func TestSpecificationsThatACallMayNotStart(t *testing.T) {
	sup := under("n", SimpleOneForOne, Graph, service("x"), service("y"))
	duplicate := under("m", OneForOne, Sequence, service("a"))
	specs := []ChildSpec{
		service("b", "a"), significant(Permanent, "b"), significant(Transient, "b"), nested(sup), nested(duplicate),
	}
	w := booted(t, list(service("a")))
	for i, spec := range specs {
		w.calls++
		w.send(Manage{Call: w.calls, Supervisor: "root", Verb: ManageStart, Spec: spec})
		w.run(0)
		w.wantManaged(w.calls, "invalid")
		if t.Failed() {
			t.Fatalf("specification %d", i)
		}
	}
	w.want("")
}

func TestNewLifeOfASupervisorHasTheChildrenOfItsSpecification(t *testing.T) {
	n := intense(under("n", OneForOne, Sequence, service("a"), service("b"), service("c")), 0)
	w := booted(t, list(nested(n)))
	for _, do := range []struct {
		verb Verb
		id   ChildID
	}{{ManageTerminate, "a"}, {ManageDelete, "a"}, {ManageStart, "a"}, {ManageTerminate, "b"}, {ManageDelete, "b"}, {ManageStart, "x"}} {
		w.manage(do.verb, "n", do.id)
		w.run(0)
	}
	w.want("-a +a -b +x")
	if got := w.listed("n"); got != "x:running a:running c:running" {
		t.Errorf("children: %s", got)
	}
	if got := len(w.m.Snapshot(w.now)); got != 5 {
		t.Errorf("%d children are seen, want 5", got)
	}
	w.crash("c")
	w.run(0)
	w.want("*c -x -a +a +b +c")
	if got := w.listed("n"); got != "c:running b:running a:running" {
		t.Errorf("children: %s", got)
	}
	if got := w.view("a").Incarnation; got != 3 {
		t.Errorf("a is incarnation %d, want 3", got)
	}
	if _, there := w.m.ViewOf(w.now, "x"); there {
		t.Error("x is still there")
	}
	if got, want := fmt.Sprint(w.joined, w.left), "[a x a b] [a b a x]"; got != want {
		t.Errorf("joined and left: %s, want %s", got, want)
	}
}

// crowd is a supervisor that makes its children from one specification.
func crowd(id string, r Restart) SupervisorSpec {
	return intense(under(id, SimpleOneForOne, Sequence, typed(r, service("template"))), 2)
}

func TestSimpleOneForOne(t *testing.T) {
	w := booted(t, list(nested(crowd("n", Permanent)), service("a")))
	for _, id := range []ChildID{"x", "y", "z"} {
		w.wantManaged(func() uint64 { c := w.manage(ManageStart, "n", id); w.run(0); return c }(), string(id)+"/1")
	}
	w.want("+x +y +z")
	w.wantManaged(w.manage(ManageStart, "n", "x"), "already_started")
	w.crash("y")
	w.run(0)
	w.want("*y +y")
	w.failures["x"] = 1
	w.crash("x")
	w.run(0)
	w.want("*x +x !x -z -y") // the retry is one too many; n starts anew, with none of them
	if got := w.listed("n"); got != "" {
		t.Errorf("children: %s", got)
	}
	w.wantStates("")
}

func TestSimpleOneForOneTerminatesByProcess(t *testing.T) {
	w := booted(t, list(nested(crowd("n", Transient))))
	w.manage(ManageStart, "n", "x")
	w.run(0)
	w.manage(ManageStart, "n", "y")
	w.run(0)
	for _, verb := range []Verb{ManageTerminate, ManageRestart, ManageDelete} {
		w.calls++
		w.send(Manage{Call: w.calls, Supervisor: "n", Verb: verb, Child: "x"})
		w.wantManaged(w.calls, "simple_one_for_one")
	}
	w.wantManaged(w.manage(ManageRestart, "n", "x"), "simple_one_for_one")
	call := w.manage(ManageTerminate, "n", "x")
	w.run(0)
	w.wantManaged(call, "ok")
	w.wantManaged(w.manage(ManageTerminate, "n", "x"), "ok")
	w.wantManaged(w.manage(ManageSpec, "n", "x"), "not_found")
	if got, want := w.managed[w.manage(ManageCount, "n", "")].Count, (ChildCount{1, 1, 0, 1}); got != want {
		t.Errorf("count %+v, want %+v", got, want)
	}
	w.finish("y") // is forgotten
	w.run(0)
	if got := w.listed("n"); got != "" {
		t.Errorf("children: %s", got)
	}
	call = w.manage(ManageStart, "n", "y")
	w.run(0)
	w.wantManaged(call, "y/2")
}

func TestSimpleOneForOneStopsAllAtOnceAndReportsThemTogether(t *testing.T) {
	w := booted(t, list(service("a"), nested(crowd("n", Permanent))))
	for _, id := range []ChildID{"x", "y", "z"} {
		w.manage(ManageStart, "n", id)
		w.run(0)
		w.deaf[id] = true
	}
	w.take()
	w.send(ShutDown{})
	w.run(0)
	w.want("-z -y -x")
	for _, id := range []ChildID{"x", "y", "z"} {
		w.life(id).alive = false
		w.send(ChildExited{ID: id, Incarnation: 1, Kind: ShutdownExit, Detail: "killed", Unexpected: true})
	}
	w.run(0)
	want := []Report{{Supervisor: "n", Context: ReportShutdownError, Kind: ShutdownExit, Detail: "killed", Children: 3}}
	if diff := cmp.Diff(want, w.reports); diff != "" {
		t.Error(diff)
	}
}

// restart_child starts a child of a group whose restart has failed though the group
// waits for its first (OTP: it is undefined, not restarting).
func TestACallDoesNotWaitForTheRetryOfAGroup(t *testing.T) {
	w := booted(t, under("root", OneForAll, Sequence, service("a"), service("b")))
	w.failures["a"] = 1
	w.send(Freeze{ID: "root"})
	w.crash("a")
	w.run(0)
	call := w.manage(ManageRestart, "root", "b")
	w.send(Thaw{ID: "root"})
	w.run(0)
	w.wantManaged(call, "b/2")
	w.want("*a -b +a !a +b -b +a +b")
}
