package supervision

// ReportContext says what a Report is about.
type ReportContext string

// The contexts of OTP's supervisor reports.
const (
	ReportChildTerminated ReportContext = "child_terminated"
	ReportStartError      ReportContext = "start_error"
	ReportShutdownError   ReportContext = "shutdown_error"
	ReportShutdown        ReportContext = "shutdown"
)

// Report is OTP's supervisor report: a child ended by itself and is not simply
// forgotten, could not start, or did not stop as it should, or the supervisor gives
// up.
type Report struct {
	Supervisor  ChildID
	Context     ReportContext
	Child       ChildID // "": Children of them
	Incarnation uint64
	Kind        ExitKind
	Detail      string
	Children    int
}

func (m *Machine) report(s *supervisor, context ReportContext, c *child, e ChildExited) {
	m.do(Report{Supervisor: s.self.id(), Context: context, Child: c.id(), Incarnation: c.inc, Kind: e.Kind, Detail: e.Detail})
}

// reportEnd reports that a child ended though nobody ordered it to stop: every end
// of a permanent child, and every abnormal one.
func (m *Machine) reportEnd(c *child, e ChildExited) {
	switch {
	case e.Kind == Abnormal && !c.ran && !c.sup.sequence():
		m.report(c.sup, ReportStartError, c, e)
	case e.Kind == Abnormal || c.spec().Restart == Permanent:
		m.report(c.sup, ReportChildTerminated, c, e)
	}
}

// reportStop reports how a child ended that was to stop, if that was not so. In
// sequence what dies before its turn is reported when that comes; children made
// from one specification are reported together.
func (m *Machine) reportStop(c *child, e ChildExited, ordered bool) {
	s := c.sup
	switch {
	case ordered && !c.ran && e.Kind == Abnormal:
		m.report(s, ReportStartError, c, e)
	case !e.Unexpected:
	case s.simple() && !s.open():
		m.gather(s, e)
	case s.inTurn() && !ordered:
		c.obituary = &e
	default:
		m.report(s, ReportShutdownError, c, e)
	}
}

func (m *Machine) gather(s *supervisor, e ChildExited) {
	for i := range s.unclean {
		if s.unclean[i].Detail == e.Detail {
			s.unclean[i].Children++
			return
		}
	}
	s.unclean = append(s.unclean, Report{Supervisor: s.self.id(), Context: ReportShutdownError, Kind: e.Kind, Detail: e.Detail, Children: 1})
}

// stateOf tells what has become of a supervisor.
func (m *Machine) stateOf(c *child, state State, e ChildExited) {
	if state == StateStopped {
		for _, r := range c.nested.unclean {
			m.do(r)
		}
		c.nested.unclean = nil
	}
	m.do(SupervisorState{ID: c.id(), Incarnation: c.inc, State: state, Kind: e.Kind, Detail: e.Detail})
}
