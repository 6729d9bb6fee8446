package supervision

// Event is something that happened, or that someone asks for.
//
//sumtype:decl
type Event interface{ event() }

// Boot starts the root supervisor and with it the tree.
type Boot struct{ Cause uint64 }

// Resume goes on where another life of the node was cut off: the machine knows, by
// Restore and by the steps since, what was under way, and orders it again. Cause is the
// notice that tells of the new life.
type Resume struct {
	Cause uint64
	// Changed: the tree is another one than that of the life before. Rollout is how what
	// changed comes into force.
	Changed bool
	// Presumed: what runs is all that is known, see Presume.
	Presumed bool
	Rollout  *Rollout
}

// ChildAdopted says that an incarnation of an earlier life of the node was found, with
// that main process, and is supervised again.
type ChildAdopted struct {
	ID          ChildID
	Incarnation uint64
	Pid         int
}

// ChildStarted says that the process of that incarnation runs; it need not be
// ready yet.
type ChildStarted struct {
	ID          ChildID
	Incarnation uint64
	Pid         int
}

// ChildReady says that the start has succeeded: the child is healthy for the
// first time.
type ChildReady struct {
	ID          ChildID
	Incarnation uint64
}

// ChildHealth says that the health of a child that was ready has changed.
type ChildHealth struct {
	ID          ChildID
	Incarnation uint64
	Healthy     bool
	Detail      string
}

// ChildExited says that an incarnation has ended and nothing of it is left. Before
// ChildReady it is a failed start, unless Kind is Normal.
type ChildExited struct {
	ID          ChildID
	Incarnation uint64
	Kind        ExitKind
	Reason      Reason
	// Detail says it in words: "exit 3", "SIGKILL", "no such file: …".
	Detail string
	// Hopeless: a start that failed so fails every time (no such binary).
	Hopeless bool
	// Unexpected: where it is to stop, that end is not what an order to stop brings
	// about; it is reported.
	Unexpected bool
	Attrs      []Attr
}

// ChildIgnored says that the start declined; that is success without a process.
type ChildIgnored struct {
	ID          ChildID
	Incarnation uint64
}

// ChildStuck says that the kernel does not let an incarnation die.
type ChildStuck struct {
	ID          ChildID
	Incarnation uint64
	Detail      string
	Attrs       []Attr
}

// SupervisorCrashed says that what carries a nested supervisor out has failed, and
// its children with it, but for those that are stuck. It is an abnormal end of that
// supervisor.
type SupervisorCrashed struct {
	ID     ChildID
	Detail string
}

// BackoffOver is a Wake command that has come back.
type BackoffOver struct {
	ID    ChildID
	Token uint64
}

// Operation is a verb of an operator.
type Operation uint8

// The verbs.
const (
	OpStart Operation = iota
	OpStop
	OpRestart
	OpPause
	OpResume
	// OpPark stops services that are about to leave the tree; it holds nothing.
	OpPark
)

// Operate is an operator's command. IDs are services or supervisors; a
// supervisor stands for all services below it. Reply answers it, by Call, when
// the work is done or cannot be done.
type Operate struct {
	Call  uint64
	Op    Operation
	IDs   []ChildID
	All   bool // every service
	Only  bool // stop, restart: not what depends on it
	Cause uint64
}

// ShutDown ends the root supervisor in order.
type ShutDown struct{ Cause uint64 }

// KillAll kills what is still alive; with it an ordered end is over at once.
type KillAll struct{ Cause uint64 }

// Note writes an event into the journal that something else than supervision
// brings about. The number it gets is that of the Notice it gives.
type Note struct{ Notice Notice }

// Freeze holds the mailbox of a supervisor with order Sequence: what happens to it
// and what is asked of it waits until Thaw, and is served then in that order.
type Freeze struct{ ID ChildID }

// Thaw ends a Freeze.
type Thaw struct{ ID ChildID }

func (Boot) event()              {}
func (Resume) event()            {}
func (ChildAdopted) event()      {}
func (ChildStarted) event()      {}
func (ChildReady) event()        {}
func (ChildHealth) event()       {}
func (ChildExited) event()       {}
func (ChildIgnored) event()      {}
func (ChildStuck) event()        {}
func (SupervisorCrashed) event() {}
func (BackoffOver) event()       {}
func (Operate) event()           {}
func (ShutDown) event()          {}
func (KillAll) event()           {}
func (Note) event()              {}
func (Manage) event()            {}
func (Freeze) event()            {}
func (Thaw) event()              {}
