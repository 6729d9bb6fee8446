package supervision

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// foretell says what a command would bring about in a world, which it leaves as it is.
func (w *world) foretell(op Operate) Consequence {
	mem, _ := w.m.Memory()
	return Foretell(w.m.tree, w.m.opt, mem, w.now, op)
}

func TestWhatACommandBringsAbout(t *testing.T) {
	w := booted(t, nine())
	for _, tc := range []struct {
		name        string
		before      func()
		op          Operate
		stop, start string
	}{
		{"stop", nil, Operate{Op: OpStop, IDs: []ChildID{"ledger"}}, "telemetry wallet|analytics|ledger", ""},
		{"stop only", nil, Operate{Op: OpStop, IDs: []ChildID{"ledger"}, Only: true}, "ledger", ""},
		{"restart", nil, Operate{Op: OpRestart, IDs: []ChildID{"ledger"}}, "telemetry wallet|analytics|ledger", "ledger|analytics wallet|telemetry"},
		{"restart only", nil, Operate{Op: OpRestart, IDs: []ChildID{"ledger"}, Only: true}, "ledger", "ledger"},
		{"start what runs", nil, Operate{Op: OpStart, All: true}, "", ""},
		{
			"start what is held", func() { w.stop("identity", "social") },
			Operate{Op: OpStart, IDs: []ChildID{"wallet"}},
			"", "identity|storage node ledger|indexer wallet", // the others need social
		},
	} {
		if tc.before != nil {
			tc.before()
			w.run(0)
		}
		before := w.states()
		got := w.foretell(tc.op)
		if inWaves(got.Stop) != tc.stop || inWaves(got.Start) != tc.start || got.Err != nil {
			t.Errorf("%s: -%s +%s %v, want -%s +%s", tc.name, inWaves(got.Stop), inWaves(got.Start), got.Err, tc.stop, tc.start)
		}
		if w.states() != before {
			t.Errorf("%s: the world has changed: %s", tc.name, w.states())
		}
	}
	var unknown *UnknownChildError
	if got := w.foretell(Operate{Op: OpStop, IDs: []ChildID{"nobody"}}); !errors.As(got.Err, &unknown) {
		t.Errorf("a service that is not there: %v", got.Err)
	}
}

// What is foretold comes to pass, also while services start, stop or are held.
func TestWhatIsForetoldComesToPass(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		root := drawTree(rt)
		tree, err := Compile(root)
		if err != nil {
			rt.Skip(err.Error()) // an order that no list respects
		}
		w := newWorld(t, root, Options{})
		w.boot()
		if w.states() != "" {
			rt.Skip("not all services run")
		}
		who := func(label string) []ChildID {
			return []ChildID{rapid.SampledFrom(tree.StartOrder).Draw(rt, label).Spec.ID}
		}
		ops := rapid.SampledFrom([]Operation{OpStart, OpStop, OpRestart})
		w.send(Operate{Call: 90, Op: ops.Draw(rt, "first"), IDs: who("of"), Only: rapid.Bool().Draw(rt, "first only")})
		w.run(time.Minute)
		op := Operate{Call: 91, Op: ops.Draw(rt, "op"), IDs: who("who"), Only: rapid.Bool().Draw(rt, "only")}
		want := w.foretell(op)
		last := len(w.notices)
		w.send(op)
		w.run(time.Minute)
		p := Prediction{Stop: want.Stop, Start: want.Start}
		comparePrediction(rt, w, p, w.notices[last:])
		if got := w.replies[op.Call]; (got != nil) != (want.Err != nil) {
			rt.Errorf("it was answered %v, foretold %v", got, want.Err)
		}
	})
}
