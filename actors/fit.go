package actors

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// digest is what there is to know of a service besides how it runs.
type digest struct {
	Watched string   // digest of its health check
	Limits  string   // digest
	Places  []string // ports and sockets that only one process can have
}

// older is a life that does not run as the configuration says by now.
type older struct {
	Incarnation uint64
	Process     string // digest
}

// Fitting is how a node goes on with another configuration.
type Fitting struct {
	// Final: what changed comes into force at once, and whatever comes of it.
	Final bool
	// Why what ran before comes back; "": it is something new.
	Why string
	// Reload: its end is waited for, also where nothing differs that supervision knows of.
	Reload bool
}

// Matches tells whether a configuration is the one that what was decided is about.
func (p *Past) Matches(c *Config) bool {
	same, err := p.same(c)
	return err == nil && same
}

func (p *Past) same(c *Config) (bool, error) {
	now, services := processesOf(c), digestsOf(c)
	differs := p.differs(c, now)
	tree, err := json.Marshal(c.Spec)
	if err != nil {
		return false, err
	}
	before, err := json.Marshal(p.base.Tree)
	if err != nil {
		return false, err
	}
	same := len(now) == len(p.base.Processes) && bytes.Equal(tree, before)
	for id := range now {
		// One that runs as an earlier configuration had it is on its way to this one.
		lags := p.base.Older[id].Process != "" && p.base.Processes[id] == now[id]
		same = same && (lags || !differs(id)) && (p.base.Services == nil || services[id].equal(p.base.Services[id]))
	}
	return same, nil
}

// Fit makes what was decided that of another configuration, where it is another one: a
// service that is to run as before runs on, another one is restarted in its wave.
func (p *Past) Fit(c *Config, f Fitting) error {
	now := processesOf(c)
	services := digestsOf(c)
	differs := p.differs(c, now)
	if same, err := p.same(c); err != nil || same && (!f.Reload || p.machine.Reloading()) {
		return err
	}
	policy, err := policies(p.base.Tree, c.Spec)
	if err != nil {
		return err
	}
	alive, failed := p.lives, p.failed()
	changed := func(id supervision.ChildID) bool {
		return differs(id) || policy[id] || services[id].Watched != p.base.Services[id].Watched
	}
	mem, _ := p.machine.Memory()
	p.machine = supervision.Restore(c.Tree, p.optionsOf(c), mem.Onto(changed, differs))
	p.lives = p.machine.Lives()
	p.rollout = supervision.Rollout{Final: f.Final, Why: f.Why}
	p.inPlace(c, services, differs)
	restarts := func(id supervision.ChildID) bool {
		_, runs := p.lives[id]
		return now[id] != "" && (differs(id) || !runs && failed[id] && changed(id))
	}
	held := map[supervision.ChildID]digest{}
	for id := range p.lives {
		held[id] = p.base.Services[id]
	}
	p.rollout.Waves = wavesOf(c.Tree.Waves, restarts, conflicts(held, services))
	if f.Final {
		p.rollout.Waves = [][]supervision.ChildID{slices.Concat(p.rollout.Waves...)}
	}
	p.rebase(c, now, services, alive, differs)
	return nil
}

// inPlace finds what is to be watched or limited otherwise while it runs on.
func (p *Past) inPlace(c *Config, services map[supervision.ChildID]digest, differs func(supervision.ChildID) bool) {
	if p.base.Services == nil { // version 1 did not tell
		return
	}
	for id := range p.lives {
		was, is := p.base.Services[id], services[id]
		if !differs(id) && is.Watched != was.Watched && confirmable(c, id) {
			p.rollout.Check = append(p.rollout.Check, id)
		}
		if is.Limits != was.Limits {
			p.limits = append(p.limits, id)
		}
	}
	slices.Sort(p.rollout.Check)
	slices.Sort(p.limits)
}

// differs tells of a service whether its life, or what was its last, is not what now says.
func (p *Past) differs(c *Config, now map[supervision.ChildID]string) func(supervision.ChildID) bool {
	if p.base.Version == 1 {
		now = processesOf1(c)
	}
	return func(id supervision.ChildID) bool { return now[id] == "" || now[id] != p.process(id) }
}

// failed are the services that will not run again by themselves.
func (p *Past) failed() map[supervision.ChildID]bool {
	failed := map[supervision.ChildID]bool{}
	for _, v := range p.machine.Snapshot(time.Now()) {
		failed[v.ID] = v.State == supervision.StateFailed
	}
	return failed
}

// process is the digest of how a service runs, or last ran.
func (p *Past) process(id supervision.ChildID) string {
	if o, ok := p.base.Older[id]; ok && o.Incarnation == p.lives[id] {
		return o.Process
	}
	return p.base.Processes[id]
}

// rebase notes what the node goes on from.
func (p *Past) rebase(c *Config, now map[supervision.ChildID]string, services map[supervision.ChildID]digest, alive map[supervision.ChildID]uint64, differs func(supervision.ChildID) bool) {
	lagging := map[supervision.ChildID]older{}
	for id, inc := range alive {
		if differs(id) && p.lives[id] == inc {
			lagging[id] = older{inc, p.process(id)}
		}
	}
	p.base.Version, p.base.Tree, p.base.Processes, p.base.Services, p.base.Older, p.changed = PastVersion, c.Spec, now, services, lagging, true
}

func (p *Past) optionsOf(c *Config) supervision.Options {
	p.base.Options.BestEffort, p.base.Options.MaxParallelStarts = c.BestEffort, c.MaxParallelStarts
	p.base.Options.Incarnations = c.Incarnations
	return p.base.Options
}

// conflicts returns, for each service, those that have a place now which it is to get.
func conflicts(now, services map[supervision.ChildID]digest) map[supervision.ChildID][]supervision.ChildID {
	holder := map[string]supervision.ChildID{}
	for id, d := range now {
		for _, place := range d.Places {
			holder[place] = id
		}
	}
	with := map[supervision.ChildID][]supervision.ChildID{}
	for id, d := range services {
		for _, place := range d.Places {
			if other, held := holder[place]; held && other != id {
				with[id] = append(with[id], other)
			}
		}
	}
	return with
}

// wavesOf are the services that restart, in waves of the start order. Who takes a place
// over from another goes with it: all of a wave stop before one of them starts.
func wavesOf(order [][]supervision.ChildID, restarts func(supervision.ChildID) bool, with map[supervision.ChildID][]supervision.ChildID) [][]supervision.ChildID {
	at := map[supervision.ChildID]int{}
	for i, wave := range order {
		for _, id := range wave {
			if restarts(id) {
				at[id] = i
			}
		}
	}
	for moved := true; moved; {
		moved = false
		for id, others := range with {
			for _, other := range others {
				moved = together(at, id, other) || moved
			}
		}
	}
	waves := make([][]supervision.ChildID, len(order))
	for _, wave := range order {
		for _, id := range wave {
			if i, ok := at[id]; ok {
				waves[i] = append(waves[i], id)
			}
		}
	}
	return slices.DeleteFunc(waves, func(w []supervision.ChildID) bool { return len(w) == 0 })
}

// together has two that restart do so in the same wave; it tells whether that moves one.
func together(at map[supervision.ChildID]int, a, b supervision.ChildID) bool {
	i, starts := at[a]
	j, alsoStarts := at[b]
	if !starts || !alsoStarts || i == j {
		return false
	}
	at[a], at[b] = min(i, j), min(i, j)
	return true
}

// confirmable tells whether a check can say now how a service is: readiness that a program
// announces once was announced, if ever.
func confirmable(c *Config, id supervision.ChildID) bool {
	i := slices.IndexFunc(c.Services, func(s Service) bool { return s.Spec.Name == string(id) })
	return i >= 0 && c.Services[i].Spec.Probe.Repeats()
}

// policies names the children of which two trees say something else.
func policies(a, b supervision.SupervisorSpec) (map[supervision.ChildID]bool, error) {
	texts := map[supervision.ChildID]string{}
	differ := map[supervision.ChildID]bool{}
	var failed error
	var walk func(s *supervision.SupervisorSpec, do func(supervision.ChildID, string))
	walk = func(s *supervision.SupervisorSpec, do func(supervision.ChildID, string)) {
		for i := range s.Children {
			c := &s.Children[i]
			if c.Supervisor != nil {
				walk(c.Supervisor, do)
				continue
			}
			text, err := json.Marshal(c)
			if err != nil {
				failed = err
			}
			do(c.ID, string(text))
		}
	}
	walk(&a, func(id supervision.ChildID, text string) { texts[id] = text })
	walk(&b, func(id supervision.ChildID, text string) { differ[id] = texts[id] != text })
	return differ, failed
}

// processesOf digests how each service runs: what differs needs another process.
func processesOf(c *Config) map[supervision.ChildID]string {
	self, _ := os.Executable() // "": no command is that
	all := map[supervision.ChildID]string{}
	for i := range c.Services {
		s := &c.Services[i]
		if !s.Enabled {
			continue
		}
		spec := *s.Spec
		spec.Limits, spec.Hooks, spec.Probe = proc.Limits{}, proc.Hooks{}, proc.ProbeSpec{}
		spec.StopSignal, spec.StopGrace, spec.SuccessCodes, spec.SuccessSignals = 0, 0, nil, nil
		spec.Peers = slices.DeleteFunc(slices.Clone(spec.Peers), func(p proc.Peer) bool { return p.UnixSocket == "" && p.TCPPort == 0 })
		if len(spec.Peers) == 0 {
			spec.Peers = nil
		}
		if len(spec.Command) > 0 && spec.Command[0] == self { // it may be another one after an upgrade
			spec.Command = append([]string{""}, spec.Command[1:]...)
		}
		all[supervision.ChildID(spec.Name)] = hashOf(struct {
			Spec   proc.ServiceSpec
			Notify bool // it has a socket for that
		}{spec, s.Spec.Probe.Type == proc.ProbeNotify})
	}
	return all
}

// processesOf1 does so as version 1 of what is kept did.
func processesOf1(c *Config) map[supervision.ChildID]string {
	all := map[supervision.ChildID]string{}
	for i := range c.Services {
		if s := &c.Services[i]; s.Enabled {
			all[supervision.ChildID(s.Spec.Name)] = hashOf(struct{ Spec, Health any }{s.Spec, s.Health})
		}
	}
	return all
}

func digestsOf(c *Config) map[supervision.ChildID]digest {
	all := map[supervision.ChildID]digest{}
	for i := range c.Services {
		s := &c.Services[i]
		if !s.Enabled {
			continue
		}
		d := digest{Watched: hashOf(struct{ Probe, Health any }{s.Spec.Probe, s.Health}), Limits: hashOf(s.Spec.Limits)}
		if s.Spec.TCPPort != 0 {
			d.Places = append(d.Places, "port "+strconv.Itoa(s.Spec.TCPPort))
		}
		if s.Spec.UnixSocket != "" {
			d.Places = append(d.Places, s.Spec.UnixSocket)
		}
		all[supervision.ChildID(s.Spec.Name)] = d
	}
	return all
}

func (d digest) equal(o digest) bool { return d.Watched == o.Watched && d.Limits == o.Limits }

// hashOf digests a value; "" is unlike any other.
func hashOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
