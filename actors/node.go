package actors

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/proc/logstore"
	"github.com/blackhole/bhnode/supervision"
)

const (
	eventsMaxSize  = 64 << 20
	eventsMaxFiles = 4
)

// Outcome is how a node ended.
type Outcome struct {
	supervision.Ended
	// Panic is what the root supervisor's actor panicked with, nil if it did not.
	Panic any
}

// Node is a node that runs.
type Node struct {
	*nodeContext
	root    *actor.PID
	records *actor.PID
	gone    chan struct{} // the root actor has stopped
	closed  chan struct{} // the records actor has stopped
}

// nodeContext is what the actors of a node share; it does not change.
type nodeContext struct {
	cfg       Config
	backend   Backend
	system    *actor.ActorSystem
	log       zerolog.Logger
	started   time.Time
	stores    map[string]*logstore.Store
	journal   *journal.Journal
	earlier   []journal.Record
	lastEvent uint64
	services  map[supervision.ChildID]*Service
	details   map[supervision.ChildID]*atomic.Pointer[Detail]

	closing atomic.Bool
	booted  chan supervision.Booted
	ended   chan Outcome
	once    sync.Once
	stopped chan struct{}
}

// Start starts a node on a backend. It returns at once; what becomes of it is told
// by Booted and Ended.
func Start(cfg Config, backend Backend) (*Node, error) {
	n := &nodeContext{
		cfg: cfg, backend: backend, system: newSystem(cfg.Log), log: cfg.Log, started: time.Now(),
		stores: map[string]*logstore.Store{}, services: map[supervision.ChildID]*Service{},
		details: map[supervision.ChildID]*atomic.Pointer[Detail]{},
		booted:  make(chan supervision.Booted, 1), ended: make(chan Outcome, 1), stopped: make(chan struct{}),
	}
	for i := range n.cfg.Services {
		s := &n.cfg.Services[i]
		id := supervision.ChildID(s.Spec.Name)
		n.services[id] = s
		n.details[id] = &atomic.Pointer[Detail]{}
		n.details[id].Store(&Detail{})
	}
	if err := n.openFiles(); err != nil {
		n.closeFiles()
		return nil, err
	}
	node := &Node{nodeContext: n, gone: make(chan struct{}), closed: make(chan struct{})}
	up := make(chan struct{})
	node.records = node.spawnTop(recordsName, &recordsActor{node: n, up: up}, node.closed)
	select {
	case <-up: // else the first events would find no journal
	case <-node.closed:
	}
	node.root = node.spawnTop(string(cfg.Tree.Root.Spec.ID), newRootActor(n), node.gone)
	return node, nil
}

func (n *nodeContext) openFiles() error {
	if n.cfg.Logs.Dir != "" {
		for i := range n.cfg.Services {
			if !n.cfg.Services[i].Enabled {
				continue
			}
			name := n.cfg.Services[i].Spec.Name
			store, err := logstore.Open(n.cfg.Logs.options(name))
			if err != nil {
				return fmt.Errorf("cannot open the log of %s: %w", name, err)
			}
			n.stores[name] = store
		}
	}
	if n.cfg.EventsPath == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(n.cfg.EventsPath), 0o711); err != nil { //nolint:gosec // services of other users pass through
		return fmt.Errorf("cannot make the directory of the event journal: %w", err)
	}
	j, err := journal.Open(n.cfg.EventsPath, journal.Options{MaxSize: eventsMaxSize, MaxFiles: eventsMaxFiles})
	if err != nil {
		return fmt.Errorf("cannot open the event journal: %w", err)
	}
	n.journal, n.lastEvent = j, j.LastSeq()
	if n.earlier, err = j.Tail(recentEvents); err != nil {
		return fmt.Errorf("cannot read the event journal: %w", err)
	}
	return nil
}

func (n *nodeContext) appendEvents(records []journal.Record) error {
	if n.journal == nil {
		return nil
	}
	return n.journal.Append(records)
}

func (n *nodeContext) closeFiles() {
	for name, s := range n.stores {
		if err := s.Close(); err != nil {
			n.log.Error().Err(err).Str("service", name).Msg("log could not be closed")
		}
	}
	if n.journal != nil {
		if err := n.journal.Close(); err != nil {
			n.log.Error().Err(err).Msg("event journal could not be closed")
		}
	}
}

// spawnTop starts one of the two actors that have no parent. A panic in one of
// them ends the node.
func (n *Node) spawnTop(name string, a actor.Actor, done chan<- struct{}) *actor.PID {
	failed := &stopFailed{func(who *actor.PID, reason any) {
		n.log.Error().Str("actor", who.GetId()).Any("panic", reason).Msg("actor panicked, the node ends")
		n.tellEnded(Outcome{Panic: reason})
	}}
	props := actor.PropsFromProducer(func() actor.Actor { return a }, guard(done, n.log), actor.WithGuardian(failed))
	pid, err := n.system.Root.SpawnNamed(props, name)
	if err != nil {
		panic(err) // a name of ours that is taken: a bug
	}
	return pid
}

// spawn starts the actor of a child.
func (n *nodeContext) spawn(c actor.Context, name string, make func() actor.Actor) (*actor.PID, error) {
	return c.SpawnNamed(actor.PropsFromProducer(make, guard(nil, n.log)), name)
}

func (n *nodeContext) newWorker(of *supervision.Node, buried uint64) *worker {
	id := of.Spec.ID
	return &worker{
		node: n, svc: n.services[id], spec: &of.Spec, shown: n.details[id], buried: buried,
		log: n.log.With().Str("service", string(id)).Logger(),
	}
}

func (n *nodeContext) tellBooted(b supervision.Booted) { n.booted <- b }

func (n *nodeContext) tellEnded(o Outcome) {
	n.once.Do(func() {
		n.ended <- o
		close(n.ended)
	})
}

// Booted gives one value once the node has come up as far as it can.
func (n *Node) Booted() <-chan supervision.Booted { return n.booted }

// Ended gives one value once nothing of the node runs any more. Close must follow.
func (n *Node) Ended() <-chan Outcome { return n.ended }

// Stop ends the node in order, or with now at once. who and text say who asked,
// and with what words.
func (n *Node) Stop(ctx context.Context, now bool, who, text string) error {
	_, err := ask(ctx, n, n.root, func(reply chan<- error) any { return shutdown{now: now, who: who, text: text, reply: reply} })
	return err
}

// Close stops the actors, the services' first, and closes the files. What still
// runs is killed.
func (n *Node) Close() {
	n.closing.Store(true)
	n.system.Root.Stop(n.root)
	<-n.gone
	n.flush()
	n.system.Root.Stop(n.records)
	<-n.closed
	close(n.stopped)
	n.system.Shutdown()
	n.closeFiles()
}

// flush waits until the journal and the logs are on disk.
func (n *Node) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := n.FollowEvents(ctx, nil); err != nil {
		n.log.Error().Err(err).Msg("event journal could not be flushed")
	}
	for i := range n.cfg.Services {
		if _, err := n.followLog(ctx, n.cfg.Services[i].Spec.Name, nil); err != nil {
			n.log.Error().Err(err).Str("service", n.cfg.Services[i].Spec.Name).Msg("log could not be flushed")
		}
	}
}

// Snapshot returns the tree as supervision sees it.
func (n *Node) Snapshot(ctx context.Context) ([]supervision.View, error) {
	return ask(ctx, n, n.root, func(reply chan<- []supervision.View) any { return askSnapshot{reply} })
}

// Detail returns what the actor of a service knows.
func (n *Node) Detail(id supervision.ChildID) Detail {
	if d := n.details[id]; d != nil {
		return *d.Load()
	}
	return Detail{}
}

// LastEarlier returns the number of the last event before those of this node, 0 if
// there is none.
func (n *Node) LastEarlier() uint64 { return n.lastEvent }

// FollowEvents has a follower receive the events to come and returns those of
// late. Without a follower it only returns them.
func (n *Node) FollowEvents(ctx context.Context, f *Follower[journal.Record]) ([]journal.Record, error) {
	got, err := ask(ctx, n, n.journalPID(), func(reply chan<- followed[journal.Record]) any {
		return follow[journal.Record]{f, reply}
	})
	return got.recent, err
}

// UnfollowEvents ends that.
func (n *Node) UnfollowEvents(f *Follower[journal.Record]) {
	n.system.Root.Send(n.journalPID(), unfollow[journal.Record]{f})
}

// followLog has a follower receive the lines of a service to come. All lines up to
// the number it returns are on disk then.
func (n *Node) followLog(ctx context.Context, service string, f *Follower[logstore.Entry]) (followed[logstore.Entry], error) {
	return ask(ctx, n, n.logPID(service), func(reply chan<- followed[logstore.Entry]) any {
		return follow[logstore.Entry]{f, reply}
	})
}

// FollowLogs has a follower receive the lines of services to come, of all if none
// is named. It returns the number of the last earlier line of each.
func (n *Node) FollowLogs(ctx context.Context, services []string, f *Follower[logstore.Entry]) (map[string]uint64, error) {
	last := map[string]uint64{}
	for _, name := range services {
		got, err := n.followLog(ctx, name, f)
		if err != nil {
			return nil, err
		}
		last[name] = got.last
	}
	return last, nil
}

// UnfollowLogs ends that.
func (n *Node) UnfollowLogs(services []string, f *Follower[logstore.Entry]) {
	for _, name := range services {
		n.system.Root.Send(n.logPID(name), unfollow[logstore.Entry]{f})
	}
}
