package supervision

import (
	"maps"
	"slices"
	"time"
)

// Memory is all that a Machine at rest knows. Restore makes of it, and of the same tree,
// a machine that decides as the first would have. It is data: it can be written down
// and read back as it is.
type Memory struct {
	Seq, Tokens, Spread uint64
	Booting, Over       bool
	BootCause           uint64
	Removed             map[ChildID]uint64 `json:",omitempty"`
	Children            []ChildMemory      // in list order
}

// ChildMemory is what a Machine knows of one child.
type ChildMemory struct {
	ID                                              ChildID
	Phase, Rest                                     uint8 `json:",omitempty"`
	Incarnation                                     uint64
	Pid                                             int               `json:",omitempty"`
	Running, Ran, Healthy, CameUp, Slot             bool              `json:",omitempty"`
	Manual, Stalled, Waits, StopAgain, Plain, Under bool              `json:",omitempty"`
	MustStop                                        bool              `json:",omitempty"` // for another tree only
	StopReason                                      Reason            `json:",omitempty"`
	Since, HealthySince, NextStart                  time.Time         `json:",omitzero"`
	Token                                           uint64            `json:",omitempty"`
	Lead                                            ChildID           `json:",omitempty"` // starts first; "": none
	Gate                                            int               `json:",omitempty"` // which others it shares a gate with; 0: none
	Hold                                            *Hold             `json:",omitempty"`
	Unjudged                                        *ChildExited      `json:",omitempty"`
	Restarts                                        []time.Time       `json:",omitempty"` // within its own window, or a supervisor's
	Row                                             int               `json:",omitempty"`
	Total                                           uint64            `json:",omitempty"`
	Reason                                          Reason            `json:",omitempty"`
	Detail                                          string            `json:",omitempty"`
	Cause                                           uint64            `json:",omitempty"`
	Suspect                                         SuspectMemory     `json:",omitzero"`
	Supervisor                                      *SupervisorMemory `json:",omitempty"`
}

// SuspectMemory is what an end by itself will be put down to.
type SuspectMemory struct {
	Notice uint64
	Signal string    `json:",omitempty"`
	Since  time.Time `json:",omitzero"`
}

// SupervisorMemory is what a Machine knows of a supervisor besides.
type SupervisorMemory struct {
	Restarts                             []time.Time `json:",omitempty"`
	Paused, Waited, Well, Failed, NoHope bool        `json:",omitempty"`
	Ended                                EndReason   `json:",omitempty"`
	Settled, Last                        int
}

// Memory returns what m knows, and whether that is all: while members of a group go
// down, or a supervisor starts its children in sequence, more hangs together than a
// Memory holds, or an
// operator waits for an answer. Of what nothing puts in order, a machine that was
// restored may do some in another one: who goes on beside a Memory restores itself too.
func (m *Machine) Memory() (Memory, bool) {
	mem := Memory{
		Seq: m.seq, Tokens: m.tokens, Spread: uint64(m.spread), Booting: m.booting, Over: m.over, BootCause: m.bootCause,
		Removed: maps.Clone(m.removed),
	}
	whole := len(m.dirty)+len(m.waiting)+len(m.calls) == 0
	gates := map[*gate]int{}
	for _, c := range m.all() {
		k := c.memory()
		if c.gate != nil {
			g := c.gate.find()
			if gates[g] == 0 {
				gates[g] = len(gates) + 1
			}
			k.Gate = gates[g]
		}
		mem.Children = append(mem.Children, k)
		whole = whole && c.atRest()
	}
	return mem, whole
}

// AtRest tells whether nothing is under way that another tree could not take up: no group
// goes down, no supervisor starts its children in sequence.
func (m *Machine) AtRest() bool {
	for _, c := range m.all() {
		if !c.atRest() && !c.stuck {
			return false
		}
	}
	return len(m.dirty) == 0
}

// atRest tells whether a ChildMemory holds all about c.
func (c *child) atRest() bool {
	s := c.nested
	return !c.mustStop && c.phase != stopping && !c.stuck && !c.inWay && c.blockers == 0 && !c.gated() && !c.counted && c.obituary == nil && !c.queued &&
		(s == nil || s.original == nil && s.op == nil && s.ending == nil && !s.closing && !s.frozen && !s.ordered && len(s.mailbox)+len(s.late)+len(s.unclean) == 0)
}

func (c *child) memory() ChildMemory {
	mem := ChildMemory{
		ID: c.id(), Phase: uint8(c.phase), Rest: uint8(c.rest), Incarnation: c.inc, Pid: c.pid,
		Running: c.running, Ran: c.ran, Healthy: c.healthy, CameUp: c.cameUp, Slot: c.slot,
		MustStop: c.mustStop, StopReason: c.stopReason, Manual: c.manual, Stalled: c.stalled, Waits: c.waits, StopAgain: c.stopAgain, Plain: c.plain, Under: c.under,
		Since: c.since, HealthySince: c.healthySince, NextStart: c.nextStart, Token: c.token,
		Restarts: slices.Clone(c.window.times), Row: c.row, Total: c.total, Reason: c.reason, Detail: c.detail, Cause: c.cause,
		Suspect: SuspectMemory{Notice: c.suspect.notice, Since: c.suspect.since},
	}
	mem.Suspect.Signal, _ = c.suspect.signal.(string)
	if c.lead != nil {
		mem.Lead = c.lead.id()
	}
	if c.hold != nil {
		mem.Hold = new(*c.hold)
	}
	if c.unjudged != nil {
		mem.Unjudged = new(*c.unjudged)
	}
	if s := c.nested; s != nil {
		mem.Supervisor = &SupervisorMemory{
			Restarts: slices.Clone(s.window.times), Paused: s.paused, Waited: s.waited, Well: s.well, Failed: s.failed, NoHope: s.hopeless,
			Ended: s.ended, Settled: s.settled, Last: s.last,
		}
	}
	return mem
}

// Restore returns the machine of a tree that knows what mem says. Children that mem
// does not name are as in a new machine.
func Restore(t *Tree, o Options, mem Memory) *Machine {
	m := New(t, o)
	m.commands, m.dirty, m.recheck = nil, nil, false
	m.seq, m.tokens, m.spread = mem.Seq, mem.Tokens, spread(mem.Spread)
	m.booting, m.over, m.bootCause = mem.Booting, mem.Over, mem.BootCause
	maps.Copy(m.removed, mem.Removed)
	for _, c := range m.order {
		c.dirty = false
	}
	gates := map[int]*gate{}
	for i := range mem.Children {
		k := &mem.Children[i]
		c := m.children[k.ID]
		if c == nil {
			continue
		}
		m.recall(c, k)
		if k.Gate != 0 {
			if gates[k.Gate] == nil {
				gates[k.Gate] = &gate{}
			}
			c.gate = gates[k.Gate]
			c.gate.members = append(c.gate.members, c)
		}
	}
	for _, c := range slices.Backward(m.order) { // children before their supervisors
		if s := c.sup; s != nil && c.alive() {
			s.alive++
			if !s.self.alive() { // in another tree it is new
				s.self.phase, s.self.healthy, s.self.ran = up, true, true
			}
		}
	}
	for _, c := range m.order {
		if c.nested != nil && c.nested.sequence() {
			c.nested.awaitStarts()
		}
	}
	return m
}

// awaitStarts has those of a supervisor that starts its children in sequence come up
// before others are started.
func (s *supervisor) awaitStarts() {
	var list []*child
	for _, c := range s.children {
		if c.phase == starting && !c.stuck {
			list = append(list, c)
		}
	}
	if len(list) > 0 {
		s.op = &operation{starts: list}
	}
}

func (m *Machine) recall(c *child, mem *ChildMemory) {
	c.phase, c.rest, c.inc, c.pid = phase(mem.Phase), rest(mem.Rest), mem.Incarnation, mem.Pid
	c.running, c.ran, c.healthy, c.cameUp, c.slot = mem.Running, mem.Ran, mem.Healthy, mem.CameUp, mem.Slot
	c.mustStop, c.stopReason = mem.MustStop, mem.StopReason
	c.manual, c.stalled, c.waits, c.stopAgain, c.plain, c.under = mem.Manual, mem.Stalled, mem.Waits, mem.StopAgain, mem.Plain, mem.Under
	c.since, c.healthySince, c.nextStart, c.token = mem.Since, mem.HealthySince, mem.NextStart, mem.Token
	c.window.times = slices.Clone(mem.Restarts)
	c.row, c.total, c.reason, c.detail, c.cause = mem.Row, mem.Total, mem.Reason, mem.Detail, mem.Cause
	c.suspect = suspicion{notice: mem.Suspect.Notice, since: mem.Suspect.Since}
	if mem.Suspect.Signal != "" {
		c.suspect.signal = mem.Suspect.Signal
	}
	c.hold, c.unjudged = nil, mem.Unjudged
	if mem.Hold != nil {
		c.hold = new(*mem.Hold)
	}
	if c.slot {
		m.slots++
	}
	if lead := m.children[mem.Lead]; lead != nil && lead != c {
		c.lead = lead
		lead.followers = append(lead.followers, c)
	}
	if s := c.nested; s != nil && mem.Supervisor != nil {
		k := mem.Supervisor
		s.window.times = slices.Clone(k.Restarts)
		s.paused, s.waited, s.well, s.failed, s.hopeless, s.ended = k.Paused, k.Waited, k.Well, k.Failed, k.NoHope, k.Ended
		s.settled, s.last = k.Settled, k.Last
	}
}
