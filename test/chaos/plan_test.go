package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// plan is a tree of services as a seed has it. The model knows it, and bhnode gets
// it as its configuration.
type plan struct {
	services    []*service    // in the order of the tree
	supervisors []*supervisor // the root first
	parallel    int           // max_parallel_starts
	byName      map[string]*service
	supByName   map[string]*supervisor
}

type service struct {
	name   string
	sup    *supervisor
	index  int // among the children of sup
	needs  []edge
	needed []edge // the other way: on is the dependent

	restart   string // permanent, transient, temporary
	max       int    // own restarts, -1: unlimited
	window    time.Duration
	exhausted string
	delay     time.Duration
	check     string
	report    bool // on_unhealthy
	brutal    bool
	grace     time.Duration
	once      bool // ends by itself, and others need that
	child     string
	weight    bool // significant
}

type edge struct {
	on      *service
	when    string // healthy, started, completed
	restart bool
}

type supervisor struct {
	name     string
	parent   *supervisor
	index    int
	depth    int // 1: the root
	children []any

	strategy string
	sequence bool
	max      int
	window   time.Duration
	restart  string
	auto     string
	delay    time.Duration
}

const (
	planServices = 30
	planDepth    = 5
	never        = -1
)

// newPlan makes the plan of a seed.
func newPlan(r *rand.Rand) *plan {
	p := &plan{byName: map[string]*service{}, supByName: map[string]*supervisor{}, parallel: pick(r, 0, 0, 0, 4)}
	p.makeSupervisors(r)
	p.makeServices(r)
	p.number(p.supervisors[0])
	for _, s := range p.services {
		p.byName[s.name] = s
	}
	for _, s := range p.supervisors {
		p.supByName[s.name] = s
	}
	p.connect(r)
	p.refine(r)
	return p
}

// makeSupervisors makes a chain of the full depth and some besides.
func (p *plan) makeSupervisors(r *rand.Rand) {
	root := &supervisor{
		name: "root", depth: 1, strategy: pick(r, "one_for_one", "rest_for_one", "rest_for_one"), sequence: r.IntN(4) == 0,
		max: 1_000_000, window: time.Second, restart: "permanent", auto: "never",
	}
	p.supervisors = []*supervisor{root}
	last := root
	for range planDepth - 1 {
		last = p.addSupervisor(r, last)
	}
	for range 2 + r.IntN(3) {
		p.addSupervisor(r, p.supervisors[r.IntN(planDepth-1)])
	}
}

func (p *plan) addSupervisor(r *rand.Rand, parent *supervisor) *supervisor {
	s := &supervisor{
		name: fmt.Sprintf("sup%d", len(p.supervisors)), parent: parent, depth: parent.depth + 1,
		strategy: pick(r, "one_for_one", "rest_for_one", "rest_for_one", "one_for_all"), sequence: r.IntN(5) < 2,
		max: 2 + r.IntN(8), window: time.Duration(1+r.IntN(5)) * time.Second,
		restart: pick(r, "permanent", "permanent", "permanent", "transient", "temporary"),
		auto:    pick(r, "never", "never", "never", "any_significant", "all_significant"),
		delay:   pick(r, 0, 10*time.Millisecond, 50*time.Millisecond),
	}
	p.supervisors = append(p.supervisors, s)
	parent.children = append(parent.children, s)
	return s
}

// makeServices spreads the services over the supervisors, two each at least.
func (p *plan) makeServices(r *rand.Rand) {
	names := r.Perm(planServices)
	for i := range planServices {
		sup := p.supervisors[r.IntN(len(p.supervisors))]
		if i < 2*len(p.supervisors) {
			sup = p.supervisors[i/2]
		}
		s := &service{
			name: fmt.Sprintf("s%02d", names[i]), sup: sup,
			restart: pick(r, "permanent", "permanent", "permanent", "transient", "transient", "temporary"),
			max:     pick(r, 2, 3, 5, 8, never, never, never), window: time.Duration(1+r.IntN(4)) * time.Second,
			exhausted: pick(r, "fail", "fail", "fail", "keep", "escalate"),
			delay:     pick(r, 0, 5*time.Millisecond, 20*time.Millisecond, 60*time.Millisecond),
			check:     pick(r, "tcp", "tcp", "tcp", "tcp", "grpc", "grpc", "none", "notify", "log", "exec"),
			report:    r.IntN(5) == 0, brutal: r.IntN(8) == 0,
			grace: time.Duration(150+r.IntN(400)) * time.Millisecond,
			child: pick(r, "no", "no", "no", "group", "session"),
		}
		if sup.parent == nil && s.exhausted == "escalate" {
			s.exhausted = "fail" // else the node would end
		}
		if s.sup.sequence && s.delay == 0 {
			s.delay = 5 * time.Millisecond // so that the journal shows when a restart is decided
		}
		sup.children = slices.Insert(sup.children, r.IntN(len(sup.children)+1), any(s))
	}
}

// number walks the tree in its order, which every edge respects.
func (p *plan) number(s *supervisor) {
	for i, c := range s.children {
		switch c := c.(type) {
		case *service:
			c.index = i
			p.services = append(p.services, c)
		case *supervisor:
			c.index = i
			p.number(c)
		}
	}
}

// connect draws the edges: over five levels of services, always to an earlier one.
func (p *plan) connect(r *rand.Rand) {
	level := map[*service]int{}
	for i, s := range p.services {
		level[s] = min(r.IntN(planDepth), i)
		chosen := map[*service]bool{}
		for range r.IntN(4) {
			on := p.services[r.IntN(i+1)]
			if level[on] < level[s] && len(chosen) < 3 {
				chosen[on] = true
			}
		}
		for _, on := range p.services[:i] {
			if level[on] == level[s]-1 && len(chosen) == 0 {
				chosen[on] = true
			}
		}
		for _, on := range p.services[:i] { // in order, so that the seed decides
			if chosen[on] {
				link(s, on, pick(r, "healthy", "healthy", "healthy", "started"), r.IntN(5) > 0)
			}
		}
	}
	for range 2 {
		if s := p.services[r.IntN(len(p.services))]; len(s.needed) > 0 && len(s.needed) < 4 {
			p.makeOnce(s)
		}
	}
}

func link(from, on *service, when string, restart bool) {
	from.needs = append(from.needs, edge{on, when, restart})
	on.needed = append(on.needed, edge{from, when, restart})
}

// makeOnce makes a service one that ends by itself, which is what others wait for.
func (p *plan) makeOnce(s *service) {
	s.once, s.restart, s.check, s.child = true, "transient", "none", "no"
	for i := range s.needed {
		s.needed[i].when, s.needed[i].restart = "completed", false
		for j := range s.needed[i].on.needs {
			if e := &s.needed[i].on.needs[j]; e.on == s {
				e.when, e.restart = "completed", false
			}
		}
	}
}

// refine makes some children of supervisors that end by themselves significant.
func (p *plan) refine(r *rand.Rand) {
	for _, s := range p.services {
		if s.sup.auto != "never" && s.restart != "permanent" && !s.once {
			s.weight = r.IntN(2) == 0
		}
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// acts tells whether a restart of what an edge of s points to takes s with it.
func (e edge) acts(s *service) bool {
	return e.restart && common(s.sup, e.on.sup).strategy != "one_for_one"
}

// common is the lowest supervisor above both.
func common(a, b *supervisor) *supervisor {
	for a != b {
		if a.depth >= b.depth {
			a = a.parent
		} else {
			b = b.parent
		}
	}
	return a
}

// isBelow tells whether s is the supervisor or one below it.
func (s *supervisor) isBelow(top *supervisor) bool {
	for ; s != nil; s = s.parent {
		if s == top {
			return true
		}
	}
	return false
}

// set is a set of services.
type set map[*service]bool

func (s set) String() string {
	var names []string
	for x := range s {
		names = append(names, x.name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// below are all services under a child of the tree.
func (p *plan) below(child any) set {
	out := set{}
	for _, s := range p.services {
		if sup, ok := child.(*supervisor); s == child || ok && s.sup.isBelow(sup) {
			out[s] = true
		}
	}
	return out
}

// named finds a child by its name.
func (p *plan) named(name string) any {
	if s := p.byName[name]; s != nil {
		return s
	}
	if s := p.supByName[name]; s != nil {
		return s
	}
	return nil
}

// addNeeded adds what needs members of the set, by edges that count.
func (s set) addNeeded(counts func(from *service, e edge) bool) {
	todo := make([]*service, 0, len(s))
	for x := range s {
		todo = append(todo, x)
	}
	for len(todo) > 0 {
		x := todo[0]
		todo = todo[1:]
		for _, back := range x.needed {
			d := back.on
			if !s[d] && counts(d, edge{x, back.when, back.restart}) {
				s[d] = true
				todo = append(todo, d)
			}
		}
	}
}

// addNeeds adds all that members of the set need.
func (s set) addNeeds() {
	todo := make([]*service, 0, len(s))
	for x := range s {
		todo = append(todo, x)
	}
	for len(todo) > 0 {
		x := todo[0]
		todo = todo[1:]
		for _, e := range x.needs {
			if !s[e.on] {
				s[e.on] = true
				todo = append(todo, e.on)
			}
		}
	}
}

// affected is what a restart of a child takes with it: what its supervisor's
// strategy says, and what reaches one of those by edges that act.
func (p *plan) affected(child any) set {
	var sup *supervisor
	var index int
	switch c := child.(type) {
	case *service:
		sup, index = c.sup, c.index
	case *supervisor:
		sup, index = c.parent, c.index
	}
	out := p.below(child)
	for i, k := range sup.children {
		if sup.strategy == "one_for_all" || sup.strategy == "rest_for_one" && sup.sequence && i > index {
			for s := range p.below(k) {
				out[s] = true
			}
		}
	}
	out.addNeeded(func(d *service, e edge) bool { return e.acts(d) })
	return out
}
