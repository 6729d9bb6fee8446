package supervision

import "time"

// ChildID names a child. Services and supervisors of a tree share one name space.
type ChildID string

// Strategy says who else is restarted when a child ends and is to be restarted.
type Strategy uint8

// The four strategies of OTP. SimpleOneForOne is no configuration key.
const (
	OneForOne Strategy = iota
	RestForOne
	OneForAll
	SimpleOneForOne
)

// Order says what "the rest" is and in which order children start and stop.
type Order uint8

const (
	// Sequence is OTP's: the order of the list, one after the other.
	Sequence Order = iota
	// Graph follows the dependencies, as parallel as they allow.
	Graph
)

// Restart is the restart type of a child, as in OTP.
type Restart uint8

const (
	// Permanent children are restarted after every end.
	Permanent Restart = iota
	// Transient children are restarted after an abnormal end.
	Transient
	// Temporary children are never restarted.
	Temporary
)

// AutoShutdown says when the end of significant children ends their supervisor.
type AutoShutdown uint8

// The three modes of OTP 24.
const (
	Never AutoShutdown = iota
	AnySignificant
	AllSignificant
)

// Condition is what a dependent waits for in a dependency.
type Condition uint8

const (
	// WhenHealthy holds while the dependency is healthy.
	WhenHealthy Condition = iota
	// WhenStarted holds while the dependency's process runs.
	WhenStarted
	// WhenCompleted holds once the dependency has ended normally.
	WhenCompleted
)

// OnExhausted says what happens when a child has used up its own restarts.
type OnExhausted uint8

const (
	// Fail leaves the child `failed`.
	Fail OnExhausted = iota
	// Keep goes on at the longest delay.
	Keep
	// Escalate makes its supervisor give up.
	Escalate
)

// ShutdownMode is how a child is stopped.
type ShutdownMode uint8

const (
	// Timed orders the child to stop and kills it when the grace is over.
	Timed ShutdownMode = iota
	// Infinity orders the child to stop and waits.
	Infinity
	// BrutalKill kills at once.
	BrutalKill
)

// Shutdown is how a child is stopped; Grace counts for Timed only.
type Shutdown struct {
	Mode  ShutdownMode
	Grace time.Duration
}

// Intensity allows Max restarts within Period; one more is one too many. A
// restart exactly one Period old still counts (OTP supervisor, add_restart).
type Intensity struct {
	Max    int
	Period time.Duration
}

// Backoff is the delay before a restart: Initial · Factor^(n−1) for the n-th in
// a row, at most Max, spread by Jitter (0.1: ±10 %). Zero Initial restarts at
// once. After ResetAfter of health the row starts anew.
type Backoff struct {
	Initial    time.Duration
	Max        time.Duration
	Factor     float64
	Jitter     float64
	ResetAfter time.Duration
}

// Dependency is an edge: its owner starts only when Condition holds for On, and
// with Restart is restarted with it where the strategy says so.
type Dependency struct {
	On        ChildID
	Condition Condition
	Restart   bool
}

// ChildSpec is how supervision treats one child. A child with a Supervisor is a
// nested supervisor, any other a worker: one OS process.
type ChildSpec struct {
	ID          ChildID
	Restart     Restart
	Shutdown    Shutdown
	Significant bool
	DependsOn   []Dependency
	Backoff     Backoff
	// Intensity is the child's own limit; nil leaves counting to its supervisor.
	Intensity   *Intensity
	OnExhausted OnExhausted
	Supervisor  *SupervisorSpec
}

// SupervisorSpec is a supervisor and its children in the order of the list.
type SupervisorSpec struct {
	ID           ChildID
	Strategy     Strategy
	Order        Order
	Intensity    Intensity
	AutoShutdown AutoShutdown
	Children     []ChildSpec
}

// OnUnhealthy says what an unhealthy child means.
type OnUnhealthy uint8

const (
	// RestartUnhealthy ends the child; that is an abnormal end.
	RestartUnhealthy OnUnhealthy = iota
	// ReportUnhealthy only shows it.
	ReportUnhealthy
)

// HealthSpec is how probe results become health.
type HealthSpec struct {
	// Interval is the time between two probes of a healthy child.
	Interval time.Duration
	// StartInterval is the first interval while starting; it grows to Interval.
	StartInterval time.Duration
	// StartPeriod is how long a start may take; zero means infinity.
	StartPeriod time.Duration
	// Retries is how many failures in a row make a child unhealthy.
	Retries int
	// Successes is how many successes in a row make it healthy.
	Successes   int
	OnUnhealthy OnUnhealthy
}
