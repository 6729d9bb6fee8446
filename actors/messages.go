package actors

import (
	"syscall"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/proc/logstore"
	"github.com/blackhole/bhnode/supervision"
)

// Between supervisors and services go the events and commands of supervision as
// they are. The rest is below: who sends it → who receives it. What only one file
// sends and receives stands there: broken, respawn, landed, earlier and kept.

// control, or whoever holds the Node → root.
type (
	// askSnapshot wants the tree as supervision sees it.
	askSnapshot struct{ reply chan<- []supervision.View }
	// askMemory wants all that supervision knows.
	askMemory struct{ reply chan<- supervision.Memory }
	// operate is an operator's command.
	operate struct {
		op     supervision.Operation
		ids    []supervision.ChildID
		all    bool
		only   bool
		noWait bool
		who    string
		text   string
		reply  chan<- error
	}
	// manage is a management call; services are those that it may start.
	manage struct {
		call     supervision.Manage
		services []*service
		reply    chan<- supervision.Managed
	}
	// shutdown ends the node, at once with now.
	shutdown struct {
		now   bool
		who   string
		text  string
		reply chan<- error
	}
)

// root → root.
type (
	// wake is a Wake that is due.
	wake supervision.BackoffOver
	// tooLong: the time for the ordered stop is over.
	tooLong struct{ cause uint64 }
)

// control → root → … → service.
type (
	// signalService sends a signal to the main process.
	signalService struct {
		id     supervision.ChildID
		signal syscall.Signal
		who    string
		reply  chan<- signalled
	}
	signalled struct {
		pid int
		err error
	}
	// noteAsked writes down what an operator asked for that is none of supervision.
	noteAsked struct{ who, text string }
	// noteReload writes down that an operator asked for a reload; the answer is its number.
	noteReload struct {
		who, text string
		reply     chan<- uint64
	}
	// park stops services that another configuration lacks.
	park struct {
		ids   []supervision.ChildID
		cause uint64
		reply chan<- error
	}
	// handOver is answered when the node can be taken over by another tree; until stayOn
	// nothing more is decided then.
	handOver     struct{ reply chan<- error }
	handOverLate struct{}
	stayOn       struct{}
	// abandon gives a reload up; the answer is whether there is one.
	abandon struct {
		who, text, why string
		reply          chan<- bool
	}
)

// service → itself, from goroutines and timers.
type (
	spawned   struct{ incarnation uint64 }
	exited    struct{ incarnation uint64 }
	graceOver struct{ incarnation uint64 }
	killOver  struct{ incarnation uint64 }
	// emptied: nothing is alive of it; its hooks are still to run.
	emptied struct{ incarnation uint64 }
	allGone struct{ incarnation uint64 }
	stuck   struct {
		incarnation uint64
		left        []proc.Remnant
	}
	lookAgain struct{ incarnation uint64 }
	latched   struct{ incarnation uint64 }
	probeDue  struct{ incarnation uint64 }
	probed    struct {
		incarnation uint64
		err         error
		at          time.Time
		took        time.Duration
	}
	startTooLong struct {
		incarnation uint64
		looks       int // how often it came
	}
)

// root → records/journal.
type writeEvents struct{ records []journal.Record }

// manager → records.
type openLog struct {
	of    *service
	reply chan<- struct{}
}

// output of a service → records/log/SERVICE; done has room for the receipt, after
// which the lines may be the sender's again.
type writeLines struct {
	entries []logstore.Entry
	bytes   int  // of all lines
	late    bool // the lines before them are still waited for
	done    chan<- receipt
}

// control → journal or log.
type (
	// follow wants what comes, if there is a follower, and what there is: all of it up
	// to last.
	follow[T any] struct {
		follower *Follower[T]
		reply    chan<- followed[T]
	}
	unfollow[T any] struct{ follower *Follower[T] }
	followed[T any] struct {
		last   uint64
		recent []T
	}
	// flush is answered when all that came before it is on disk, or lost.
	flush struct{ done chan<- receipt }
)
