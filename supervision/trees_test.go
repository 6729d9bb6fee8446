package supervision

import (
	"slices"
	"time"
)

// service is a child that depends on others, with no back-off and no limit of its
// own.
func service(id string, needs ...string) ChildSpec {
	c := ChildSpec{ID: ChildID(id), Shutdown: Shutdown{Grace: time.Second}}
	for _, n := range needs {
		c.DependsOn = append(c.DependsOn, Dependency{On: ChildID(n), Restart: true})
	}
	return c
}

func under(id string, strategy Strategy, order Order, children ...ChildSpec) SupervisorSpec {
	return SupervisorSpec{ID: ChildID(id), Strategy: strategy, Order: order, Children: children, Intensity: Intensity{Max: 10, Period: time.Minute}}
}

func nested(s SupervisorSpec) ChildSpec {
	return ChildSpec{ID: s.ID, Supervisor: &s, Shutdown: Shutdown{Mode: Infinity}}
}

// intense is the supervisor with that intensity.
func intense(s SupervisorSpec, limit int) SupervisorSpec {
	s.Intensity.Max = limit
	return s
}

func typed(r Restart, c ChildSpec) ChildSpec { c.Restart = r; return c }

// delayed gives a child a back-off that doubles from d up to eight times d.
func delayed(d time.Duration, c ChildSpec) ChildSpec {
	c.Backoff = Backoff{Initial: d, Max: 8 * d, Factor: 2, ResetAfter: time.Hour}
	return c
}

// limited gives a child a limit of its own within an hour.
func limited(n int, c ChildSpec) ChildSpec {
	c.Intensity = &Intensity{Max: n, Period: time.Hour}
	return c
}

func onExhausted(what OnExhausted, c ChildSpec) ChildSpec { c.OnExhausted = what; return c }

// through changes the edges of a child.
func through(cond Condition, restart bool, c ChildSpec) ChildSpec {
	c.DependsOn = slices.Clone(c.DependsOn)
	for i := range c.DependsOn {
		c.DependsOn[i].Condition, c.DependsOn[i].Restart = cond, restart
	}
	return c
}
