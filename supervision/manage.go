package supervision

import "slices"

// Verb is a management call of OTP.
type Verb uint8

// The management calls.
const (
	ManageStart Verb = iota
	ManageTerminate
	ManageRestart
	ManageDelete
	ManageSpec
	ManageList
	ManageCount
)

// Manage is a management call of OTP to a supervisor with order Sequence. It waits
// in the mailbox for its turn; Managed answers it.
type Manage struct {
	Call       uint64
	Supervisor ChildID
	Verb       Verb
	Child      ChildID
	// ByProcess: Child names a child made from the one specification of a
	// simple_one_for_one supervisor, not a specification.
	ByProcess bool
	// Spec is what ManageStart starts. For simple_one_for_one its ID names the child.
	Spec  ChildSpec
	Cause uint64
}

// Managed answers a Manage. Err is nil, a *ManageError or an *UnknownChildError.
type Managed struct {
	Call uint64
	Err  error
	// Child and Incarnation were started; "": the start declined.
	Child       ChildID
	Incarnation uint64
	Spec        ChildSpec
	Children    []ChildStatus
	Count       ChildCount
}

// Status is what OTP says of a child.
type Status string

// The statuses.
const (
	StatusRunning    Status = "running"
	StatusUndefined  Status = "undefined"
	StatusRestarting Status = "restarting"
)

// ChildStatus is one child as which_children shows it: the last first.
type ChildStatus struct {
	ID          ChildID
	Status      Status
	Incarnation uint64
	Nested      bool
}

// ChildCount is what count_children says.
type ChildCount struct{ Specs, Active, Supervisors, Workers int }

// ManageCode says why a management call could not be served.
type ManageCode string

// The codes. NoSupervisor: it is not alive, or ends; StartFailed: so did the start.
const (
	CodeRunning         ManageCode = "running"
	CodeRestarting      ManageCode = "restarting"
	CodeNotFound        ManageCode = "not_found"
	CodeAlreadyStarted  ManageCode = "already_started"
	CodeAlreadyPresent  ManageCode = "already_present"
	CodeSimpleOneForOne ManageCode = "simple_one_for_one"
	CodeInvalid         ManageCode = "invalid"
	CodeNoSupervisor    ManageCode = "no_supervisor"
	CodeStartFailed     ManageCode = "start_failed"
)

// ManageError is a management call that could not be served.
type ManageError struct {
	Code   ManageCode
	Detail string
}

func (e *ManageError) Error() string {
	if e.Detail == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Detail
}

func (m *Machine) manage(e Manage) {
	c := m.children[e.Supervisor]
	switch {
	case c == nil || c.nested == nil:
		m.do(Managed{Call: e.Call, Err: &UnknownChildError{e.Supervisor}})
	case !c.nested.sequence():
		m.answer(&e, CodeInvalid, "its order is not sequence")
	case !c.nested.open():
		m.refuse(&e)
	default:
		c.nested.mailbox = append(c.nested.mailbox, message{call: &e})
		m.touch(c)
	}
}

func (m *Machine) answer(e *Manage, code ManageCode, detail string) {
	m.do(Managed{Call: e.Call, Err: &ManageError{code, detail}})
}

// refuse answers a call that its supervisor will not serve.
func (m *Machine) refuse(e *Manage) {
	if e != nil {
		m.answer(e, CodeNoSupervisor, "")
	}
}

// serve serves a call whose turn has come.
func (m *Machine) serve(s *supervisor, e *Manage) {
	c := s.find(e.Child)
	byName := e.Verb == ManageTerminate || e.Verb == ManageRestart || e.Verb == ManageDelete
	switch {
	case e.Verb == ManageStart:
		m.manageStart(s, e)
	case e.Verb == ManageList:
		m.do(Managed{Call: e.Call, Children: s.list()})
	case e.Verb == ManageCount:
		m.do(Managed{Call: e.Call, Count: s.count()})
	case s.simple() && byName && (!e.ByProcess || e.Verb != ManageTerminate):
		m.answer(e, CodeSimpleOneForOne, "")
	case c == nil && s.simple() && e.Verb == ManageTerminate:
		m.do(Managed{Call: e.Call})
	case c == nil:
		m.answer(e, CodeNotFound, "")
	case e.Verb == ManageTerminate:
		m.manageTerminate(s, c, e)
	case e.Verb == ManageSpec:
		m.do(Managed{Call: e.Call, Spec: *c.spec()})
	case c.status() == StatusRunning:
		m.answer(e, CodeRunning, "")
	case c.status() == StatusRestarting:
		m.answer(e, CodeRestarting, "")
	case e.Verb == ManageDelete:
		m.remove(c)
		m.do(Managed{Call: e.Call})
	default:
		m.manageRun(s, c, e)
	}
}

// find is the child of that name; nil where OTP keeps no specification of it.
func (s *supervisor) find(id ChildID) *child {
	i := slices.IndexFunc(s.children, func(c *child) bool { return c.id() == id && !c.dropped() })
	if i < 0 {
		return nil
	}
	return s.children[i]
}

// dropped tells whether OTP keeps no specification of c: temporary, and down.
func (c *child) dropped() bool {
	return c.spec().Restart == Temporary && !c.alive() && c.unjudged == nil
}

func (c *child) status() Status {
	switch {
	case c.alive(), c.unjudged != nil:
		return StatusRunning
	case c.rest == retrying, c.rest == backingOff:
		return StatusRestarting
	}
	return StatusUndefined
}

func (s *supervisor) list() (list []ChildStatus) {
	for _, c := range slices.Backward(s.children) {
		if !c.dropped() {
			list = append(list, ChildStatus{c.id(), c.status(), c.inc, c.nested != nil})
		}
	}
	return list
}

func (s *supervisor) count() (n ChildCount) {
	for _, c := range s.children {
		if c.dropped() {
			continue
		}
		n.Specs++
		if c.status() == StatusRunning {
			n.Active++
		}
		if c.nested != nil {
			n.Supervisors++
		} else {
			n.Workers++
		}
	}
	if s.simple() {
		n.Specs = 1
	}
	return n
}

func (m *Machine) manageStart(s *supervisor, e *Manage) {
	spec := e.Spec
	if s.simple() {
		spec = s.spec.Children[0]
		spec.ID = e.Spec.ID
	}
	if c := s.find(spec.ID); c != nil {
		code := CodeAlreadyPresent
		if c.status() == StatusRunning {
			code = CodeAlreadyStarted
		}
		m.answer(e, code, "")
		return
	}
	if c := m.children[spec.ID]; c != nil && c.sup == s {
		m.remove(c)
	}
	if err := m.checkNew(s, spec); err != nil {
		m.answer(e, CodeInvalid, err.Error())
		return
	}
	m.manageRun(s, m.add(s, spec), e)
}

// checkNew checks the specification of a child that joins a living tree.
func (m *Machine) checkNew(s *supervisor, spec ChildSpec) error {
	errs := checkSpec(spec, s.spec)
	if spec.Supervisor != nil {
		errs = append(errs, checkSimple(spec.Supervisor)...)
	}
	if len(errs) > 0 {
		return errs[0]
	}
	if m.children[spec.ID] != nil {
		return &DuplicateError{spec.ID}
	}
	if len(spec.DependsOn) > 0 {
		return &SpecError{spec.ID, "a child that is started by a call has no dependencies"}
	}
	if spec.Supervisor != nil && spec.Supervisor.Strategy != SimpleOneForOne {
		for _, k := range spec.Supervisor.Children {
			if err := m.checkNew(&supervisor{spec: spec.Supervisor}, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// manageRun starts a child for a call.
func (m *Machine) manageRun(s *supervisor, c *child, e *Manage) {
	c.cause, c.manual, c.lead = e.Cause, true, nil
	m.setRest(c, pending)
	m.run(s, &operation{starts: []*child{c}, call: e, of: c})
}

func (m *Machine) manageTerminate(s *supervisor, c *child, e *Manage) {
	if c.alive() {
		m.mark(c, e.Cause, ReasonOperator, true)
	} else {
		m.outlive(c)
		m.lastInWay(s)
		m.leaveAtThat(c)
	}
	m.run(s, &operation{call: e, of: c})
}

// finish answers the call that asked for an operation which is done.
func (m *Machine) finish(s *supervisor, op *operation) {
	c, e := op.of, op.call
	switch {
	case e == nil:
	case e.Verb == ManageTerminate:
		m.setRest(c, retired)
		if s.simple() || c.dropped() {
			m.remove(c)
		}
		m.do(Managed{Call: e.Call})
	case c.status() == StatusRunning:
		m.do(Managed{Call: e.Call, Child: c.id(), Incarnation: c.inc})
	case c.rest == ignored:
		m.do(Managed{Call: e.Call})
		if e.Verb == ManageStart && c.dropped() && !s.simple() {
			m.remove(c)
		}
	default:
		m.answer(e, CodeStartFailed, "it waits "+c.waitsFor())
	}
}

// managedStartFailed: the start of a child that a call asked for has failed. It is
// not tried again.
func (m *Machine) managedStartFailed(c *child, e ChildExited) {
	op := c.sup.op
	c.sup.op = nil
	m.setRest(c, retired)
	m.answer(op.call, CodeStartFailed, e.Detail)
	if op.call.Verb == ManageStart {
		m.remove(c)
	}
	m.touchLate(c.sup)
	m.touch(c)
}
