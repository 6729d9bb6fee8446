package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

const (
	// calmTime is how long the node gets to come to rest.
	calmTime = 30 * time.Second
	// restTime without an event is rest.
	restTime = 350 * time.Millisecond
)

// settle waits until everything wanted is well, or has a reason not to be, and
// nothing happens any more. all: nothing is excused but what has completed.
func (n *node) settle(all bool) bool {
	late := time.After(calmTime)
	rest := time.NewTicker(restTime)
	defer rest.Stop()
	last, quiet := 0, 0
	for {
		wrong := n.unexcused(all)
		n.model.mu.Lock()
		events := len(n.model.events)
		n.model.mu.Unlock()
		if len(wrong) == 0 && events == last {
			quiet++
		} else {
			quiet = 0
		}
		if quiet == 2 {
			return true
		}
		last = events
		select {
		case <-rest.C:
		case <-n.gone:
			n.fault("the node lives on", "bhnode has ended: %s", n.out.String())
			return false
		case <-late:
			for _, w := range wrong {
				n.fault("everything wanted comes up again", "%s", w)
			}
			if len(wrong) == 0 {
				n.fault("the node comes to rest", "events go on")
			}
			return false
		}
	}
}

// snapshot is what status and tree say.
type snapshot struct {
	of    map[*service]*bhnodev1.Service
	ended map[*supervisor]bool // stopped, and not to start by itself
	down  map[*supervisor]bool // not running, for whatever reason
	later map[*supervisor]bool // to start by itself, in a while
}

func (n *node) snapshot() (snapshot, error) {
	out := snapshot{of: map[*service]*bhnodev1.Service{}, ended: map[*supervisor]bool{}, down: map[*supervisor]bool{}, later: map[*supervisor]bool{}}
	status, tree, err := n.status()
	if err != nil {
		return out, err
	}
	for _, s := range status.GetServices() {
		out.of[n.p.byName[s.GetName()]] = s
	}
	var walk func(*bhnodev1.TreeNode)
	walk = func(t *bhnodev1.TreeNode) {
		if s := n.p.supByName[t.GetName()]; s != nil {
			out.ended[s] = t.GetState() == bhnodev1.ServiceState_SERVICE_STATE_STOPPED
			out.later[s] = t.GetState() == bhnodev1.ServiceState_SERVICE_STATE_BACKOFF
			out.down[s] = t.GetState() != bhnodev1.ServiceState_SERVICE_STATE_RUNNING
		}
		for _, k := range t.GetChildren() {
			walk(k)
		}
	}
	walk(tree.GetRoot())
	return out, nil
}

// unexcused lists what is not as it must be when nothing is done to it.
func (n *node) unexcused(all bool) []string {
	now, err := n.snapshot()
	if err != nil {
		return []string{"status: " + err.Error()}
	}
	n.model.mu.Lock()
	defer n.model.mu.Unlock()
	var wrong []string
	for _, s := range n.p.services {
		got := now.of[s]
		if why := n.model.objection(s, got, now); why != "" {
			wrong = append(wrong, fmt.Sprintf("%s is %s: %s\n  %s", s.name, stateOf(got), why, got))
		} else if all && got.GetHealth() != bhnodev1.Health_HEALTH_HEALTHY && stateOf(got) != "completed" {
			wrong = append(wrong, fmt.Sprintf("%s is %s after start --all\n  %s", s.name, stateOf(got), got))
		}
	}
	return wrong
}

func stateOf(s *bhnodev1.Service) string {
	return strings.ToLower(strings.TrimPrefix(s.GetState().String(), "SERVICE_STATE_"))
}

// objection says why a service may not stay as it is, "" if it may.
func (m *model) objection(s *service, got *bhnodev1.Service, now snapshot) string {
	st := m.of[s]
	if got == nil {
		return "status does not name it"
	}
	if got.GetIncarnation() != st.inc {
		return fmt.Sprintf("the journal is at incarnation %d", st.inc)
	}
	under := m.under(s)
	if got.GetWanted() == under {
		return fmt.Sprintf("under a hold: %v", under)
	}
	switch state := stateOf(got); {
	case st.phase == isUp && st.healthy:
		if state != "running" || under {
			return fmt.Sprintf("the journal says it runs; under a hold: %v", under)
		}
	case st.phase != isDown:
		return fmt.Sprintf("the journal says it is %s, healthy: %v", st.phase, st.healthy)
	case under:
		if state != "stopped" {
			return "it is under a hold"
		}
	case state == "failed":
		if !st.failed && !st.abandoned {
			return "the journal has no reason"
		}
	case state == "completed":
		if !st.completed {
			return "the journal has no reason"
		}
	case state == "stopped":
		if st.dismissed == no && !m.hasEnded(s, now) && (!anyAbove(s, now.down) || !m.follows(s)) {
			return "the journal has no reason"
		}
	case state == "waiting":
		if !m.mustWait(s) && !anyAbove(s, now.later) {
			return "all it needs is there"
		}
	default:
		return "this is no state to stay in"
	}
	return ""
}

// hasEnded tells whether a supervisor above has ended for good.
func (m *model) hasEnded(s *service, now snapshot) bool {
	for sup := s.sup; sup.parent != nil; sup = sup.parent {
		if now.ended[sup] && sup.restart != "permanent" {
			return true
		}
	}
	return false
}

// mustWait tells whether a service has something to wait for: a dependency, or one
// that `failed` and takes it with it.
func (m *model) mustWait(s *service) bool {
	for _, e := range s.needs {
		if !m.of[e.on].meets(e.when) {
			return true
		}
	}
	return m.follows(s)
}

// follows tells whether one that takes it with it has `failed`.
func (m *model) follows(s *service) bool {
	for other, st := range m.of {
		if other != s && st.failed && m.p.affected(other)[s] {
			return true
		}
	}
	return false
}

// anyAbove tells whether a supervisor above is one of those.
func anyAbove(s *service, those map[*supervisor]bool) bool {
	for sup := s.sup; sup != nil; sup = sup.parent {
		if those[sup] {
			return true
		}
	}
	return false
}

// startAll lifts every hold and clears every failure.
func (n *node) startAll() {
	ctx, cancel := context.WithTimeout(context.Background(), calmTime)
	defer cancel()
	if _, err := n.api.StartServices(ctx, &bhnodev1.StartServicesRequest{All: true}); err != nil {
		n.fault("start --all starts all", "%v", err)
	}
}

// census compares the machine with the journal: one main process each, no other
// life, no zombie, no descriptor more than before.
func (n *node) census(before *footprint) {
	var wrong []string
	n.eventually(func() bool {
		wrong = n.miscounted()
		return len(wrong) == 0
	})
	for _, w := range wrong {
		n.fault("the machine is as the journal says", "%s", w)
	}
	var now footprint
	ok := n.eventually(func() bool {
		f, err := footprintOf(n.cmd.Process.Pid)
		now = f
		return err == nil && len(f.zombies) == 0 && (before.total == 0 || f.total <= before.total)
	})
	if !ok {
		n.fault("nothing is left over", "zombies %v, descriptors %v, at first %v", now.zombies, now.fds, before.fds)
	}
	if before.total == 0 {
		*before = now
	} else if now.threads > before.threads+30 {
		n.fault("nothing is left over", "%d threads, at first %d", now.threads, before.threads)
	}
}

// eventually asks again and again for some seconds.
func (n *node) eventually(holds func() bool) bool {
	late := time.After(5 * time.Second)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-late:
			return false
		}
	}
	return true
}

func (n *node) miscounted() []string {
	mains, lives := map[string][]int{}, map[string][]process{}
	for _, p := range livingOf(n.instance) {
		if !p.linger && !p.probe {
			mains[p.service] = append(mains[p.service], p.pid)
		}
		lives[p.service] = append(lives[p.service], p)
	}
	n.model.mu.Lock()
	defer n.model.mu.Unlock()
	var wrong []string
	for _, s := range n.p.services {
		st := n.model.of[s]
		var want []int
		if st.phase != isDown {
			want = []int{st.pid}
		}
		if !slices.Equal(mains[s.name], want) || st.phase == isDown && len(lives[s.name]) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: got %v, want the main process %v and incarnation %d", s.name, lives[s.name], want, st.inc))
		}
		for _, p := range lives[s.name] {
			if p.inc != st.inc {
				wrong = append(wrong, fmt.Sprintf("%v is of another life than %d", p, st.inc))
			}
		}
	}
	return wrong
}

// witness reports what the services themselves have seen.
func (n *node) witness() {
	text, err := os.ReadFile(filepath.Join(n.dir, "data", filepath.Base(doubles)))
	if err == nil {
		n.fault("at most one life at a time", "%s", text)
	}
}
