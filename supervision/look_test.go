package supervision

import (
	"errors"
	"fmt"
	"strings"
)

// wantReply asserts that a call is answered, and how; "" means well.
func (w *world) wantReply(call uint64, want string) {
	w.t.Helper()
	err, ok := w.replies[call]
	switch {
	case !ok:
		w.t.Errorf("call %d is not answered, want %q", call, want)
	case err == nil && want != "", err != nil && err.Error() != want:
		w.t.Errorf("call %d: got %v, want %q", call, err, want)
	}
	var op *OperationError
	var unknown *UnknownChildError
	if err != nil && !errors.As(err, &op) && !errors.As(err, &unknown) {
		w.t.Errorf("call %d: %T is not one of the errors promised", call, err)
	}
}

func (w *world) view(id ChildID) View {
	v, ok := w.m.ViewOf(w.now, id)
	if !ok {
		w.t.Fatalf("no view of %s", id)
	}
	return v
}

// states lists the children whose state is not running.
func (w *world) states() string {
	var out []string
	for _, v := range w.m.Snapshot(w.now) {
		if v.State != StateRunning {
			out = append(out, fmt.Sprintf("%s:%s", v.ID, v.State))
		}
	}
	return strings.Join(out, " ")
}

// chain walks the causes back from the last notice of that type about a child.
func (w *world) chain(kind string, id ChildID) string {
	bySeq := map[uint64]Notice{}
	var last Notice
	for _, n := range w.notices {
		bySeq[n.Seq] = n
		if n.Type == kind && (n.Service == id || n.Supervisor == id) {
			last = n
		}
	}
	var steps []string
	for n, ok := last, last.Seq != 0; ok; n, ok = bySeq[n.Cause] {
		_, what, _ := strings.Cut(n.Type, ".")
		steps = append(steps, string(n.Service+n.Supervisor)+" "+what)
	}
	return strings.Join(steps, " < ")
}

// types lists the types of the notices about a child.
func (w *world) types(id ChildID) string {
	var out []string
	for _, n := range w.notices {
		if n.Service == id || n.Supervisor == id {
			_, what, _ := strings.Cut(n.Type, ".")
			out = append(out, what)
		}
	}
	return strings.Join(out, " ")
}
