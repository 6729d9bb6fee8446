package supervision

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A machine that was written down at rest and read back decides as the first would
// have, whatever happens next.
func TestAMachineGoesOnFromItsMemory(t *testing.T) {
	restored := 0
	rapid.Check(t, func(t *rapid.T) {
		f := &forest{t: t, finite: map[ChildID]bool{}}
		w, root, o := f.grow()
		w.send(Boot{})
		for range f.pick("faults", 40) {
			f.fault(w)
		}
		f.calm(w)
		tree, err := Compile(root)
		if err != nil {
			t.Fatal(err)
		}
		o.MaxParallelStarts = 0 // who gets the last place is a matter of order
		first, other := New(tree, o), New(tree, o)
		for i, e := range w.events {
			want, got := decided(first.Step(e.at, e.ev)), decided(other.Step(e.at, e.ev))
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\nevent %d, %#v:\n got %q\nwant %q", outline(root), i, e.ev, got, want)
			}
			mem, whole := other.Memory()
			if whole && f.pick("restore", 2) == 0 {
				restored++
				other = Restore(tree, o, reread(t, mem))
			}
		}
	})
	t.Logf("restored %d times", restored)
	if restored == 0 {
		t.Error("no machine was ever at rest")
	}
}

// decided are the commands of a step without what their order decides, sorted: of
// those that nothing puts in order some may change places.
func decided(commands []Command) []string {
	var texts []string
	for _, c := range commands {
		switch c := c.(type) {
		case Reply: // answers an operator, who is not remembered
			continue
		case Notice:
			if c.Type == ServiceWaiting { // told by whoever is looked at first
				continue
			}
			c.Seq, c.Cause = 0, 0
			texts = append(texts, fmt.Sprintf("%#v", c))
		default:
			texts = append(texts, fmt.Sprintf("%#v", c))
		}
	}
	slices.Sort(texts)
	return texts
}

func reread(t tester, mem Memory) (back Memory) {
	t.Helper()
	text, err := json.Marshal(mem)
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil {
		t.Fatal(err)
	}
	return back
}
