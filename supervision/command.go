package supervision

import "time"

// Command is something to be done now. Commands of one step are carried out in
// order.
//
//sumtype:decl
type Command interface{ command() }

// StartChild starts a service's next incarnation. It answers with ChildStarted
// and ChildReady, ChildIgnored, or ChildExited.
type StartChild struct {
	ID          ChildID
	Incarnation uint64
}

// AdoptChild takes an incarnation over that an earlier life of the node was told to
// start. Where its process was never made, that is done now. It answers with
// ChildAdopted, if the process is known to have run, and goes on as StartChild does.
type AdoptChild struct {
	ID          ChildID
	Incarnation uint64
	Started     bool // ChildStarted was told
	Ready       bool // ChildReady was told
	Healthy     bool
	// Confirm: it is watched otherwise now. Its first verdict is to be told, and a bad one
	// ends nothing.
	Confirm bool
}

// StopChild orders an incarnation to stop, by its own rule. It answers with
// ChildExited.
type StopChild struct {
	ID          ChildID
	Incarnation uint64
	Shutdown    Shutdown
	Reason      Reason
}

// KillChild kills an incarnation at once.
type KillChild struct {
	ID          ChildID
	Incarnation uint64
}

// Wake asks for BackoffOver with the same ID and Token after that time.
type Wake struct {
	ID    ChildID
	Token uint64
	After time.Duration
}

// Reply answers an Operate. Err is nil, an *OperationError or an
// *UnknownChildError.
type Reply struct {
	Call uint64
	Err  error
}

// Held is the set of services under a hold of their own; it is to be kept.
type Held struct{ Holds []Hold }

// Hold is one operator's stop.
type Hold struct {
	ID   ChildID
	Only bool
}

// Booted says that every wanted service has been healthy or has completed once;
// Failed names those that could not.
type Booted struct{ Failed []ChildID }

// Ended says that the root supervisor has ended and nothing below it is alive, but
// what is stuck.
type Ended struct {
	Why EndReason
	// ID is the service that brought it about, if one did.
	ID ChildID
	// Detail says what happened to it.
	Detail string
	// AllNormal: an automatic shutdown whose significant children all ended normally.
	AllNormal bool
}

// SupervisorState says that a supervisor has come up (running), was ordered to
// stop by the one above it (stopping) or has ended (stopped).
type SupervisorState struct {
	ID          ChildID
	Incarnation uint64
	State       State
	Kind        ExitKind
	Detail      string
}

// ChildJoined says that a child has joined the tree, with what is below it. It
// comes before any other command about it.
type ChildJoined struct{ Node *Node }

// ChildLeft says that a child that is down has left the tree, with what was below
// it.
type ChildLeft struct{ Node *Node }

// EndReason says why a supervisor ended.
type EndReason uint8

// The ways a supervisor ends.
const (
	EndOrdered EndReason = iota
	EndIntensity
	EndBootFailed
	EndAutoShutdown
)

func (StartChild) command() {}
func (AdoptChild) command() {}
func (StopChild) command()  {}
func (KillChild) command()  {}
func (Wake) command()       {}
func (Reply) command()      {}
func (Held) command()       {}
func (Booted) command()     {}
func (Ended) command()      {}
func (Notice) command()     {}
func (Report) command()     {}
func (Managed) command()    {}

func (SupervisorState) command() {}
func (ChildJoined) command()     {}
func (ChildLeft) command()       {}

// Notice is one event of the journal: a decision or a fact, and the number of the
// notice that brought it about (0: none).
type Notice struct {
	Seq         uint64
	Cause       uint64
	Type        string
	Service     ChildID
	Supervisor  ChildID
	Incarnation uint64
	Pid         int
	Message     string
	Attrs       []Attr
}

// Attr is a detail of a notice.
type Attr struct {
	Key   string
	Value any
}

// The types of notices.
const (
	NodeStarting = "node.starting"
	NodeReady    = "node.ready"
	NodeStopping = "node.stopping"
	NodeStopped  = "node.stopped"
	NodeAdopted  = "node.adopted"
	NodeUpgraded = "node.upgraded"

	// A reload begins with reloading and ends with reloaded; in between it may have failed.
	NodeReloading    = "node.reloading"
	NodeReloadFailed = "node.reload_failed"
	NodeReloaded     = "node.reloaded"

	ServiceWaiting   = "service.waiting"
	ServiceStarting  = "service.starting"
	ServiceStarted   = "service.started"
	ServiceReady     = "service.ready"
	ServiceUnhealthy = "service.unhealthy"
	ServiceHealthy   = "service.healthy"
	ServiceExited    = "service.exited"
	ServiceBackoff   = "service.backoff"
	ServiceStopping  = "service.stopping"
	ServiceStopped   = "service.stopped"
	ServiceStuck     = "service.stuck"
	ServiceCompleted = "service.completed"
	ServiceFailed    = "service.failed"
	ServiceLimits    = "service.limits"
	ServiceAdopted   = "service.adopted"

	SupervisorRestarting = "supervisor.restarting"
	SupervisorGaveUp     = "supervisor.gave_up"
	SupervisorEscalated  = "supervisor.escalated"
	SupervisorPaused     = "supervisor.paused"
	SupervisorResumed    = "supervisor.resumed"

	OperatorCommand = "operator.command"
)

// NoticeTypes are all of them.
var NoticeTypes = []string{
	NodeStarting, NodeReady, NodeStopping, NodeStopped, NodeAdopted, NodeUpgraded, NodeReloading, NodeReloadFailed, NodeReloaded,
	ServiceWaiting, ServiceStarting, ServiceStarted, ServiceReady, ServiceUnhealthy, ServiceHealthy, ServiceExited, ServiceBackoff,
	ServiceStopping, ServiceStopped, ServiceStuck, ServiceCompleted, ServiceFailed, ServiceLimits, ServiceAdopted,
	SupervisorRestarting, SupervisorGaveUp, SupervisorEscalated, SupervisorPaused, SupervisorResumed, OperatorCommand,
}

// OperationError is an operator's command that could not be done.
type OperationError struct {
	ID   ChildID
	What string
}

func (e *OperationError) Error() string { return string(e.ID) + " " + e.What }

// UnknownChildError is a name that is no child of the tree.
type UnknownChildError struct{ ID ChildID }

func (e *UnknownChildError) Error() string {
	return "no service or supervisor is called " + string(e.ID)
}
