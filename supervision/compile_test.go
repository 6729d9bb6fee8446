package supervision

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCompileNamesEveryMistake(t *testing.T) {
	a, b, c := service("a", "b"), service("b", "a"), service("c")
	group := func(id string, children ...ChildSpec) ChildSpec {
		return nested(under(id, RestForOne, Graph, children...))
	}
	dependent := group("n", c)
	dependent.DependsOn = []Dependency{{On: "a"}}
	tests := []struct {
		name string
		tree SupervisorSpec
		want string
	}{
		{"a name that stands twice", under("root", OneForOne, Graph, c, c), `"c" stands twice in the tree`},
		{"a supervisor's too", under("root", OneForOne, Graph, group("c", c)), `"c" stands twice in the tree`},
		{"an unknown dependency", under("root", OneForOne, Graph, service("a", "x")), `"a" depends on "x", which is no service of the tree`},
		{"a supervisor is no dependency", under("root", OneForOne, Graph, group("n"), service("a", "n")), `"a" depends on "n", which is no service of the tree`},
		{"and has none", under("root", OneForOne, Graph, service("a"), dependent), `"n": a supervisor depends on nothing; its services do`},
		{"itself", under("root", OneForOne, Graph, service("a", "a")), `dependencies go round in a circle: a → a`},
		{"a circle, named by its path", under("root", OneForOne, Graph, service("x", "a"), a, service("b", "y"), service("y", "a")), `dependencies go round in a circle: a → b → y → a`},
		{"a circle across supervisors", under("root", OneForOne, Graph, group("m", a), group("n", b)), `dependencies go round in a circle: a → b → a`},
		{
			"a circle of lifted edges", under("root", OneForOne, Graph, group("m", service("a"), service("b", "c")), group("n", service("c"), service("d", "a"))),
			`dependencies go round in a circle: m → n → m (between the children of supervisor "root")`,
		},
		{
			"a circle of a service and a supervisor", under("root", OneForOne, Graph, group("m", service("a"), service("b", "c")), service("c", "a")),
			`dependencies go round in a circle: m → c → m (between the children of supervisor "root")`,
		},
		{
			"an edge against the list", under("root", OneForOne, Sequence, service("a", "c"), c),
			`supervisor "root" starts its children in sequence, but "a" stands before "c", which it needs`,
		},
		{
			"a lifted edge against the list", under("root", OneForOne, Sequence, group("n", service("a", "c")), c),
			`supervisor "root" starts its children in sequence, but "n" stands before "c", which it needs`,
		},
		{"significant and permanent", auto(AnySignificant, under("root", OneForOne, Graph, significant(Permanent, "a"))), `"a": significant needs restart type transient or temporary`},
		{"significant for nobody", under("root", OneForOne, Graph, significant(Transient, "a")), `"a": significant needs a supervisor whose auto_shutdown is not never`},
		{
			"needed as completed and permanent", under("root", OneForOne, Graph, c, through(WhenCompleted, false, service("d", "c"))),
			`"c": "d" needs it as completed, but its restart type is permanent`,
		},
		{
			"all at once", under("root", OneForOne, Graph, service("a", "x", "y"), significant(Permanent, "b")),
			`"b": significant needs restart type transient or temporary
"b": significant needs a supervisor whose auto_shutdown is not never
"a" depends on "x", which is no service of the tree
"a" depends on "y", which is no service of the tree`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree, err := Compile(tt.tree)
			if err == nil || tree != nil {
				t.Fatal("no error")
			}
			if err.Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestCompileErrorsHaveTypes(t *testing.T) {
	_, err := Compile(under("root", OneForOne, Graph, service("a", "b"), service("b", "a")))
	cycle, ok := errors.AsType[*CycleError](err)
	if !ok || !slices.Equal(cycle.Path, []ChildID{"a", "b", "a"}) {
		t.Errorf("got %#v", err)
	}
	_, err = Compile(under("root", OneForOne, Sequence, service("a", "b"), service("b")))
	if order, ok := errors.AsType[*OrderError](err); !ok || *order != (OrderError{"a", "b", "root"}) {
		t.Errorf("got %#v", err)
	}
}

func TestTreeIsInStartOrderAndWaves(t *testing.T) {
	tree, err := Compile(nine())
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, n := range tree.StartOrder {
		order = append(order, "+"+string(n.Spec.ID))
	}
	if got := strings.Join(order, " "); got != nineUp {
		t.Errorf("start order:\n got %s\nwant %s", got, nineUp)
	}
	var waves []string
	for _, w := range tree.Waves {
		slices.Sort(w)
		var names []string
		for _, id := range w {
			names = append(names, string(id))
		}
		waves = append(waves, strings.Join(names, " "))
	}
	want := "identity | ledger node storage | indexer social wallet | analytics | telemetry"
	if got := strings.Join(waves, " | "); got != want {
		t.Errorf("waves:\n got %s\nwant %s", got, want)
	}
	if tree.Node("wallet").Spec.ID != "wallet" || tree.Node("x") != nil {
		t.Error("Node does not find what is there")
	}
}

func TestEdgesActBetweenTheChildrenOfTheNearestCommonSupervisor(t *testing.T) {
	tree, err := Compile(under("root", RestForOne, Graph,
		nested(under("m", OneForOne, Graph, service("a"), service("b", "a"))),
		nested(under("n", OneForOne, Graph, nested(under("o", OneForAll, Graph, service("c", "a"), service("d", "c"))), service("e", "d"))),
		through(WhenHealthy, false, service("f", "a"))))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		id, above ChildID
		acts      bool
	}{
		{"b", "m", false}, {"c", "root", true}, {"d", "o", true}, {"e", "n", false}, {"f", "root", false},
	}
	for _, tt := range tests {
		e := tree.Node(tt.id).Needs[0]
		if e.Above.Spec.ID != tt.above || e.Acts != tt.acts {
			t.Errorf("%s: acts %v at %s, want %v at %s", tt.id, e.Acts, e.Above.Spec.ID, tt.acts, tt.above)
		}
	}
	for range tree.Root.Services {
		break // a walk can be ended
	}
}
