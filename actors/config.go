package actors

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/logstore"
	"github.com/blackhole/bhnode/proc/state"
	"github.com/blackhole/bhnode/supervision"
)

// Config is what a Node runs.
type Config struct {
	Name    string
	Version string
	// Source says where the configuration came from, for people.
	Source string
	Tree   *supervision.Tree
	// Spec is what Tree was compiled from.
	Spec supervision.SupervisorSpec
	// State keeps what is decided for the next bhnode, should this one be killed; nil: it
	// is not kept. Boot tells this boot of the machine from others.
	State *state.Store
	Boot  string
	// Past is what the bhnode before this one had decided; nil: it has ended, or there was
	// none. The node goes on from there.
	Past *Past
	// Takeover is the notice that tells of a Past ("": NodeAdopted), TakeoverCause what
	// brought it about.
	Takeover      string
	TakeoverCause uint64
	// Services are all services of the configuration in its order, the disabled
	// ones too.
	Services          []Service
	BestEffort        bool
	MaxParallelStarts int
	ShutdownTimeout   time.Duration
	Logs              Logs
	EventsPath        string // "": events are kept in memory only
	// SampleInterval is how often is looked at what the services use; 0: only when somebody
	// asks.
	SampleInterval time.Duration
	// Announcements are the commands that tell of events.
	Announcements []Announcement
	// CompatMetrics adds the metric of the original plan that is against the naming rules.
	CompatMetrics bool
	// Seed determines the jitter of the back-offs.
	Seed uint64
	// Holds and Incarnations come from an earlier life of the node.
	Holds        []supervision.Hold
	Incarnations map[supervision.ChildID]uint64
	// Patient: an order to stop waits for its turn in the mailbox of a supervisor with
	// order sequence, as in OTP.
	Patient bool
	Hooks   Hooks
	Log     zerolog.Logger
}

// Hooks are for tests that look on, or do harm. They are called by the actors and
// must not wait for them.
type Hooks struct {
	// Hearing is called before an actor hears a message. If it panics, so does the
	// actor.
	Hearing func(name string, message any)
	// Decided is told what supervision made of an event, before it is carried out.
	Decided func(at time.Time, ev supervision.Event, commands []supervision.Command)
}

// Service is one service of a Config.
type Service struct {
	Spec      *proc.ServiceSpec
	Health    supervision.HealthSpec
	Enabled   bool
	DependsOn []string
	// Description and Command are shown; secrets in Command are masked.
	Description string
	Command     []string
}

// Announcement is a command that is run for events, one after the other.
type Announcement struct {
	Command []string
	Types   []string // of events
	Names   []string // of services and supervisors; nil: whatever it is about
	Timeout time.Duration
}

// Logs is how the output of services is kept.
type Logs struct {
	Dir      string // "": in memory only
	Raw      bool
	MaxSize  int64
	MaxFiles int
	Compress bool
	// Drop drops the oldest lines that wait for the disk; else the service waits,
	// BlockTimeout at most.
	Drop         bool
	BlockTimeout time.Duration
}

func (l Logs) options(service string) logstore.Options {
	return logstore.Options{
		Dir: l.Dir, Service: service, Raw: l.Raw, MaxSize: l.MaxSize, MaxFiles: l.MaxFiles, Compress: l.Compress,
	}
}
