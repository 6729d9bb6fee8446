package supervision

import "slices"

// checkOrder asserts that no child is ordered to stop while a dependent that is
// to stop too is alive. A supervisor with a mailbox may come to mark it later in
// the same step.
func (w *world) checkOrder(commands []Command, marked map[*child]bool) {
	mailbox := slices.ContainsFunc(w.m.nested, (*supervisor).sequence)
	for _, cmd := range commands {
		if s, ok := cmd.(StartChild); ok {
			w.checkSupervised(s, marked)
		}
		s, ok := cmd.(StopChild)
		if !ok || w.killing || w.life(s.ID).ordered == s.Incarnation { // repeated by who goes on from there
			continue
		}
		for _, d := range reaching(w.m.children[s.ID]) {
			if d.alive() && d.mustStop && !d.stuck && (marked[d] || !mailbox) {
				w.t.Errorf("%s is ordered to stop while %s, which needs it and is to stop too, is alive", s.ID, d.id())
			}
		}
	}
}

// checkSupervised asserts that nothing starts below a supervisor that is to stop.
func (w *world) checkSupervised(c StartChild, marked map[*child]bool) {
	for s := w.m.children[c.ID].sup; s != nil; s = s.self.sup {
		if marked[s.self] && s.self.mustStop && !s.holdsOrders() {
			w.t.Errorf("%s is started while its supervisor %s is to stop", c.ID, s.self.id())
		}
	}
}

// reaching lists what needs c, directly or not.
func reaching(c *child) []*child {
	s := &set{}
	s.addDependents(c, func(link) bool { return true })
	return s.list
}
