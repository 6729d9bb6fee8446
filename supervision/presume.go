package supervision

import "time"

// Found is a life that was found running where what was decided is not known any more.
type Found struct {
	Incarnation uint64
	// Ready: it counts as ready, since it would not say so again.
	Ready bool
}

// Presume returns a machine that goes on with lives that were found running: each counts
// as just started. All else is as before a boot, which is under way.
func Presume(t *Tree, o Options, lives map[ChildID]Found, now time.Time) *Machine {
	m := New(t, o)
	m.now, m.booting = now, true
	for _, c := range m.starts {
		found, ok := lives[c.id()]
		if !ok {
			continue
		}
		c.inc, c.running = found.Incarnation, true
		m.setPhase(c, starting)
		if found.Ready {
			m.setPhase(c, up)
			c.ran, c.healthy, c.cameUp, c.healthySince = true, true, true, now
		}
		for s := c.sup; s != nil; s = s.self.sup {
			m.setPhase(s.self, starting)
		}
	}
	mem, _ := m.Memory()
	return Restore(t, o, mem)
}
