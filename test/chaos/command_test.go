package chaos

import (
	"maps"
	"strings"
	"time"
)

// takeCommand is what an operator has said.
func (m *model) takeCommand(e event) {
	c := m.command(e)
	switch c.verb {
	case "start":
		all := c.named.with(set.addNeeds)
		for s := range all {
			delete(m.holds, s)
			m.of[s].manual = true
			m.of[s].abandoned, m.of[s].dismissed = false, no
		}
		for s := range c.named {
			m.of[s].completed = false
		}
		m.forgive(c.named, all, perhaps)
	case "stop":
		for s := range c.named {
			if h, held := m.holds[s]; !held || h.only && !c.only {
				m.holds[s] = hold{c.only}
			}
		}
		m.order(c.reached())
		m.forgive(c.named, c.reached(), yes)
	case "restart":
		if c.refused(m) {
			return
		}
		maps.DeleteFunc(c.named, func(s *service, _ bool) bool { return m.under(s) })
		all := c.reached()
		m.mustAllGo(c.named, all)
		for s := range all {
			m.of[s].manual = true
		}
		for s := range c.named {
			m.of[s].completed, m.of[s].abandoned, m.of[s].dismissed = false, false, no
		}
		m.forgive(c.named, all, yes)
	}
}

// forgive: what a command touched may start again, its counters may be cleared.
func (m *model) forgive(named, touched set, again certainty) {
	for s := range touched {
		st := m.of[s]
		st.failed, st.certain, st.earliest = false, nil, time.Time{}
		if st.phase != isDown {
			st.again = max(st.again, again)
		}
		if st.judged == yes {
			st.judged = perhaps
		}
	}
	for s := range named {
		for sup := s.sup; sup != nil; sup = sup.parent {
			m.sups[sup].certain = nil
			if m.sups[sup].ends {
				m.newLife(sup)
			}
		}
	}
}

// command is an operator's command as the model reads it.
type command struct {
	verb  string
	named set
	names []string
	only  bool
}

func (m *model) command(e event) command {
	words := strings.Fields(e.Message)
	c := command{named: set{}}
	if len(words) == 0 {
		return c
	}
	c.verb = words[0]
	for _, w := range words[1:] {
		switch {
		case w == "--all":
			c.named = m.p.below(m.p.supervisors[0])
		case w == "--only":
			c.only = true
		case m.p.named(w) != nil:
			c.names = append(c.names, w)
			for s := range m.p.below(m.p.named(w)) {
				c.named[s] = true
			}
		}
	}
	return c
}

// reached is what goes down with a stop or a restart.
func (c command) reached() set {
	if c.only {
		return c.named
	}
	return c.named.with(func(s set) {
		s.addNeeded(func(_ *service, e edge) bool { return c.verb == "stop" || e.restart })
	})
}

// refused tells whether a restart names a service under a hold.
func (c command) refused(m *model) bool {
	for _, name := range c.names {
		if s := m.p.byName[name]; s != nil && m.under(s) {
			return true
		}
	}
	return false
}

// with is a copy of the set with more in it.
func (s set) with(add func(set)) set {
	out := set{}
	for x := range s {
		out[x] = true
	}
	add(out)
	return out
}

// under tells whether a service is under a hold, its own or one of what it needs.
func (m *model) under(s *service) bool {
	if _, held := m.holds[s]; held {
		return true
	}
	all := set{s: true}.with(set.addNeeds)
	for x := range all {
		if h, held := m.holds[x]; held && !h.only {
			return true
		}
	}
	return false
}

// paused tells whether a supervisor above is paused.
func (m *model) paused(s *service) bool {
	for sup := s.sup; sup != nil; sup = sup.parent {
		if m.sups[sup].paused {
			return true
		}
	}
	return false
}
