package actors

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/state"
	"github.com/blackhole/bhnode/supervision"
)

// PastVersion is that of what is kept for the next life. A bhnode reads its own and the
// one before.
const PastVersion = 2

// base is where the steps that are kept begin.
type base struct {
	Version   int
	Boot      string // of the machine: no process survives another
	Tree      supervision.SupervisorSpec
	Processes map[supervision.ChildID]string // a digest of how each service runs; in version 1 of how it is watched too
	Services  map[supervision.ChildID]digest // and what else there is to know of it
	Older     map[supervision.ChildID]older  // lives that run as an earlier configuration had it
	Options   supervision.Options
	Memory    *supervision.Memory               `json:",omitempty"` // nil: nothing has happened yet
	Exits     map[supervision.ChildID]proc.Exit `json:",omitempty"` // how the last life of each ended
	Notices   []eventRecord                     `json:",omitempty"` // what the journal lacked of those before
}

// keptStep is one step of a Machine.
type keptStep struct {
	At    time.Time
	Kind  string
	Event json.RawMessage
}

// kinds are the events that are kept, by name. What tests do to the tree is not.
var kinds = map[string]func(json.RawMessage) (supervision.Event, error){
	"Boot": event[supervision.Boot], "Resume": event[supervision.Resume], "ChildAdopted": event[supervision.ChildAdopted],
	"ChildStarted": event[supervision.ChildStarted], "ChildReady": event[supervision.ChildReady], "ChildHealth": event[supervision.ChildHealth],
	"ChildExited": event[supervision.ChildExited], "ChildIgnored": event[supervision.ChildIgnored], "ChildStuck": event[supervision.ChildStuck],
	"Abandon": event[supervision.Abandon], "SupervisorCrashed": event[supervision.SupervisorCrashed], "BackoffOver": event[supervision.BackoffOver],
	"Operate": event[supervision.Operate], "ShutDown": event[supervision.ShutDown], "KillAll": event[supervision.KillAll], "Note": event[supervision.Note],
}

func event[E supervision.Event](text json.RawMessage) (supervision.Event, error) {
	var e E
	err := json.Unmarshal(text, &e)
	return e, err
}

// errNotKept says that an event is of a kind that is not kept.
var errNotKept = errors.New("the tree was changed by a management call")

func writeStep(at time.Time, ev supervision.Event) ([]byte, error) {
	kind := reflect.TypeOf(ev).Name()
	if kinds[kind] == nil {
		return nil, errNotKept
	}
	text, err := json.Marshal(ev)
	if err != nil {
		return nil, err
	}
	step := append(make([]byte, 0, len(text)+len(kind)+64), `{"At":"`...) // a keptStep
	step = append(at.AppendFormat(step, time.RFC3339Nano), `","Kind":"`...)
	step = append(append(step, kind...), `","Event":`...)
	return append(append(step, text...), '}'), nil
}

func readStep(text []byte) (time.Time, supervision.Event, error) {
	var s keptStep
	if err := json.Unmarshal(text, &s); err != nil {
		return time.Time{}, nil, err
	}
	decode := kinds[s.Kind]
	if decode == nil {
		return time.Time{}, nil, fmt.Errorf("no event is called %q", s.Kind)
	}
	ev, err := decode(s.Event)
	return s.At, ev, err
}

// Past is what a bhnode that was cut off had decided.
type Past struct {
	base    base
	machine *supervision.Machine // root's, once the node runs
	lives   map[supervision.ChildID]uint64
	notices []eventRecord                             // all since the base; the journal may lack the last of them
	changed bool                                      // it was fitted to another configuration
	found   map[supervision.ChildID]supervision.Found // what runs is all that is known, there is no machine yet
	rollout supervision.Rollout                       // how that comes into force
	limits  []supervision.ChildID                     // lives with other limits than they began with
}

// Recall finds out what the bhnode before this one had decided, from what it kept. It
// returns nil if there is nothing to go on with: it has ended in order, or was ending, or
// the machine was booted since. The error says that what it kept makes no sense.
func Recall(kept *state.Store, boot string) (*Past, error) {
	text, steps, err := kept.Recall()
	if err != nil || text == nil {
		return nil, err
	}
	p := &Past{}
	if err := json.Unmarshal(text, &p.base); err != nil {
		return nil, fmt.Errorf("the base of what was decided cannot be read: %w", err)
	}
	switch {
	case p.base.Boot != boot:
		return nil, nil
	case p.base.Version != PastVersion && p.base.Version != PastVersion-1:
		return nil, fmt.Errorf("what was decided is in version %d of its format, this bhnode reads %d", p.base.Version, PastVersion)
	}
	tree, err := supervision.Compile(p.base.Tree)
	if err != nil {
		return nil, fmt.Errorf("the tree that was supervised cannot be read: %w", err)
	}
	p.notices = p.base.Notices
	p.machine = supervision.New(tree, p.base.Options)
	if p.base.Memory != nil {
		p.machine = supervision.Restore(tree, p.base.Options, *p.base.Memory)
	}
	for i, text := range steps {
		at, ev, err := readStep(text)
		if err != nil {
			return nil, fmt.Errorf("step %d of what was decided cannot be read: %w", i, err)
		}
		if e, ok := ev.(supervision.ChildExited); ok {
			p.noteExit(at, e)
		}
		for _, cmd := range p.machine.Step(at, ev) {
			if n, ok := cmd.(supervision.Notice); ok {
				p.notices = append(p.notices, recordOf(at, n))
			}
		}
	}
	if !p.machine.Runs() {
		return nil, nil
	}
	p.lives = p.machine.Lives()
	return p, nil
}

// Presume is the Past of a node of which only the lives are known that were found running,
// under the configuration that they are thought to run by.
func Presume(c *Config, found map[string]uint64, boot string) *Past {
	p := &Past{lives: map[supervision.ChildID]uint64{}, found: map[supervision.ChildID]supervision.Found{}, changed: true}
	for i := range c.Services {
		s := &c.Services[i]
		id := supervision.ChildID(s.Spec.Name)
		if inc, ok := found[string(id)]; ok && s.Enabled {
			p.lives[id] = inc
			p.found[id] = supervision.Found{Incarnation: inc, Ready: !s.Spec.Probe.Repeats() && s.Spec.Probe.Type != proc.ProbeNone}
		}
	}
	if len(p.lives) == 0 {
		return nil
	}
	p.base = base{Version: PastVersion, Boot: boot, Tree: c.Spec, Processes: processesOf(c), Services: digestsOf(c)}
	return p
}

// complete makes the machine of a node of which only the lives are known.
func (p *Past) complete(n *nodeContext) {
	if p.found != nil {
		p.base.Options = n.options()
		p.machine = supervision.Presume(n.cfg.Tree, p.base.Options, p.found, time.Now())
	}
}

// noteExit takes from what supervision was told how a life ended, for the status.
func (p *Past) noteExit(at time.Time, e supervision.ChildExited) {
	if p.base.Exits == nil {
		p.base.Exits = map[supervision.ChildID]proc.Exit{}
	}
	exit := proc.Exit{Code: -1, At: at}
	for _, a := range e.Attrs {
		switch v := a.Value.(type) {
		case float64:
			if a.Key == attrCode {
				exit.Code, exit.Known = int(v), true
			}
		case string:
			if a.Key == attrSignal {
				exit.Signal, exit.Known = proc.SignalNamed(v), true
			}
		case bool:
			if a.Key == attrOOM {
				exit.OOMKilled = v
			}
		}
	}
	if len(e.Attrs) > 0 { // else it never had a process
		p.base.Exits[e.ID] = exit
	}
}

// exit is how the last life of a service ended, nil if that is not known.
func (p *Past) exit(service string) *proc.Exit {
	if p == nil {
		return nil
	}
	if e, ok := p.base.Exits[supervision.ChildID(service)]; ok {
		return &e
	}
	return nil
}

// exits are how the last lives ended, for the next life of the node.
func (n *nodeContext) exits() map[supervision.ChildID]proc.Exit {
	all := map[supervision.ChildID]proc.Exit{}
	for _, s := range n.services.all() {
		if e := s.detail.Load().Exit; e != nil {
			all[supervision.ChildID(s.Spec.Name)] = *e
		}
	}
	return all
}

// Lives are the incarnations that are to be taken over, by service.
func (p *Past) Lives() map[string]uint64 {
	lives := map[string]uint64{}
	for id, inc := range p.lives {
		lives[string(id)] = inc
	}
	return lives
}
