package actors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/actors/metrics"
	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/proc/logstore"
	"github.com/blackhole/bhnode/supervision"
)

const (
	eventsMaxSize  = 64 << 20
	eventsMaxFiles = 4
	// closeTime bounds each step of Close.
	closeTime = 15 * time.Second
	// flushTime is how long a disk is waited for that has stalled.
	flushTime = 5 * time.Second
	// guestTime is how long followers get to take the last lines.
	guestTime = time.Second
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
	root    address
	records address
	closed  chan struct{} // records is to end
}

// nodeContext is what the actors of a node share; it does not change.
type nodeContext struct {
	cfg        Config
	backend    Backend
	system     *actor.ActorSystem
	log        zerolog.Logger
	started    time.Time
	services   directory
	stores     []*logstore.Store
	keeps      atomic.Bool // what is decided is kept for the next life
	turnAt     int         // bytes of steps after which what is kept begins anew
	journal    *journalBook
	journalPID *actor.PID
	samplerPID *actor.PID
	announcers []*actor.PID
	metrics    *metrics.Metrics
	mailboxes  mailboxes

	adding    sync.Mutex // of services while the node runs
	guests    guests
	finishing sync.WaitGroup // what goes on after its actor has stopped
	booted    chan supervision.Booted
	ended     chan Outcome
	reloaded  chan supervision.RolledOut
	once      sync.Once // of ended
	closing   sync.Once
}

// service is a configured service, and what its actors, one after the other, share.
type service struct {
	*Service
	log    zerolog.Logger
	detail atomic.Pointer[Detail]
	body   *body // of the present incarnation; its actor's alone
	lines  *logBook
	tally  *tally
	logPID *actor.PID
	limits []proc.Enforcement
}

// Start starts a node on a backend. It returns at once; what becomes of it is told
// by Booted and Ended.
func Start(cfg Config, backend Backend) (*Node, error) {
	n, err := newContext(cfg, backend)
	if err != nil {
		return nil, err
	}
	return n.start(), nil
}

// newContext opens the files.
func newContext(cfg Config, backend Backend) (*nodeContext, error) {
	n := &nodeContext{
		cfg: cfg, backend: backend, system: newSystem(cfg.Log), log: cfg.Log, started: time.Now(), turnAt: turnSize,
		booted: make(chan supervision.Booted, 1), ended: make(chan Outcome, 1), reloaded: make(chan supervision.RolledOut, 1),
	}
	n.journalPID = actor.NewPID(n.system.Address(), recordsName+"/"+journalName)
	n.samplerPID = actor.NewPID(n.system.Address(), recordsName+"/"+samplerName)
	for i := range n.cfg.Announcements {
		n.announcers = append(n.announcers, actor.NewPID(n.system.Address(), recordsName+"/"+announcerName(i)))
	}
	n.measure()
	err := n.openJournal()
	services := make([]*service, len(n.cfg.Services))
	var there *logstore.Listing
	if n.cfg.Logs.Dir != "" {
		there = logstore.List(n.cfg.Logs.Dir)
	}
	counted := make(chan struct{})
	aside(func() { // a third of the work, on another processor
		defer close(counted)
		for i := range n.cfg.Services {
			n.count(&n.cfg.Services[i])
		}
	})
	for i := range n.cfg.Services {
		if err == nil {
			services[i], err = n.newService(&n.cfg.Services[i], there)
		}
	}
	<-counted
	if err != nil {
		return nil, errors.Join(err, n.closeFiles())
	}
	n.services.put(services...)
	return n, nil
}

// count has the metrics count what a service does.
func (n *nodeContext) count(s *Service) {
	if s.Enabled {
		n.metrics.Added(s.Spec.Name)
	}
}

// newService opens the log of a service, unless it is open already. there is what the
// directory of the logs holds, nil: it is to be looked at.
func (n *nodeContext) newService(of *Service, there *logstore.Listing) (*service, error) {
	name := of.Spec.Name
	s := &service{
		Service: of, log: n.log.With().Str("service", name).Logger(),
		logPID: actor.NewPID(n.system.Address(), recordsName+"/"+logName(name)), tally: new(tally),
	}
	s.detail.Store(&Detail{Exit: n.cfg.Past.exit(of.Spec.Name)})
	if of.Enabled {
		s.limits = n.backend.Enforcement(of.Spec)
	}
	if known := n.services.get(supervision.ChildID(name)); known != nil {
		s.lines, s.tally = known.lines, known.tally
		return s, nil
	}
	var store *logstore.Store
	if n.cfg.Logs.Dir != "" && of.Enabled {
		options := n.cfg.Logs.options(name)
		options.Listing = there
		in, err := n.backend.Intake(name)
		if err != nil {
			s.log.Warn().Err(err).Msg("a bhnode that is killed may lose lines of it")
		}
		if in != nil {
			options.Keeper = in
		}
		if store, err = logstore.Open(options); err != nil {
			return nil, fmt.Errorf("cannot open the log of %s: %w", name, err)
		}
		n.stores = append(n.stores, store)
	}
	s.lines = newLogBook(store, n.cfg.Logs.Drop, s.log)
	return s, nil
}

func (n *nodeContext) openJournal() error {
	var file *journal.Journal
	if path := n.cfg.EventsPath; path != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil { //nolint:gosec // services of other users pass through
			return fmt.Errorf("cannot make the directory of the event journal: %w", err)
		}
		var err error
		if file, err = journal.Open(path, journal.Options{MaxSize: eventsMaxSize, MaxFiles: eventsMaxFiles}); err != nil {
			return fmt.Errorf("cannot open the event journal: %w", err)
		}
	}
	n.journal = newJournalBook(file, n.log)
	return nil
}

func (n *nodeContext) closeFiles() error {
	var errs []error
	for _, s := range n.stores {
		errs = append(errs, s.Close())
	}
	if n.journal != nil && n.journal.file != nil {
		errs = append(errs, n.journal.file.Close())
	}
	return errors.Join(errs...)
}

// start spawns the two actors that have no parent.
func (n *nodeContext) start() *Node {
	node := &Node{nodeContext: n, closed: make(chan struct{})}
	node.records = n.keepRecords(node.closed)
	failed := func(reason any) { n.tellEnded(Outcome{Panic: reason}) }
	node.root = n.spawnTop(n.rootName(), newRootActor(n), failed)
	return node
}

// keepRecords has records, and when it panics a new one in its place, until closed is.
func (n *nodeContext) keepRecords(closed <-chan struct{}) address {
	spawn := func() address {
		up := make(chan struct{})
		a := n.spawnTop(recordsName, newRecordsActor(n, up), nil)
		select {
		case <-up: // else the first events would find no journal
		case <-a.gone:
		}
		return a
	}
	now, born := spawn(), time.Now()
	over := make(chan struct{})
	aside(func() {
		defer close(over)
		for {
			select {
			case <-now.gone:
			case <-closed:
				now.root.Stop(now.pid)
				<-now.gone
				return
			}
			if time.Since(born) < respawnTime && within(respawnTime, closed) {
				return // as young ones are replaced later, see nursery
			}
			now, born = spawn(), time.Now()
		}
	})
	return address{now.pid, now.root, over}
}

// spawnTop starts an actor without a parent; failed, if there is one, is told that it
// has panicked, and with what.
func (n *nodeContext) spawnTop(name string, a actor.Actor, failed func(reason any)) address {
	gone := make(chan struct{})
	props := actor.PropsFromProducer(func() actor.Actor { return a }, n.guard(gone),
		actor.WithMailbox(n.mailboxes.of(name)), actor.WithDispatcher(crewOf(n.system)), actor.WithGuardian(&stopFailed{failed}))
	pid, err := n.system.Root.SpawnNamed(props, name)
	if err != nil {
		panic(err) //nolint:forbidigo // a name of ours that is taken: a bug
	}
	return address{pid, n.system.Root, gone}
}

func (n *nodeContext) tellBooted(b supervision.Booted) {
	select {
	case n.booted <- b:
	default: // it was told before
	}
}

func (n *nodeContext) tellReloaded(r supervision.RolledOut) {
	select {
	case n.reloaded <- r:
	default: // it was told before
	}
}

func (n *nodeContext) tellEnded(o Outcome) {
	n.once.Do(func() {
		n.ended <- o
		close(n.ended)
	})
}

// finish runs work that Close waits for though its actor has stopped.
func (n *nodeContext) finish(work func()) {
	n.finishing.Go(func() {
		if b, ok := caught(func() any { work(); return nil }).(broken); ok {
			n.log.Error().Any("panic", b.reason).Bytes("stack", b.stack).Msg("work of a stopped actor panicked")
		}
	})
}

// Booted gives one value once the node has come up as far as it can.
func (n *Node) Booted() <-chan supervision.Booted { return n.booted }

// Ended gives one value once nothing of the node runs any more, or root has panicked.
// Close must follow.
func (n *Node) Ended() <-chan Outcome { return n.ended }

// Stop ends the node in order, or with now at once. who and text say who asked,
// and with what words.
func (n *Node) Stop(ctx context.Context, now bool, who, text string) error {
	_, err := ask(ctx, n.root, func(reply chan<- error) any { return shutdown{now: now, who: who, text: text, reply: reply} })
	return err
}

// Close stops the actors, the services' first, and closes the files. What still
// runs is killed. A second call does nothing.
func (n *Node) Close() { n.closing.Do(n.close) }

func (n *Node) close() {
	finished, closed := make(chan struct{}), make(chan struct{})
	n.stopTop(n.root)
	aside(func() {
		n.finishing.Wait()
		close(finished)
	})
	if !within(closeTime, finished) {
		n.log.Error().Msg("not all that was killed has gone")
	}
	if err := n.flush(); err != nil {
		n.log.Error().Err(err).Msg("what was recorded last could not be written")
	}
	n.tellAll()
	close(n.closed)
	n.stopTop(n.records)
	within(guestTime, n.guests.gone()) // a slow one does not hold the end up
	endSystem(n.system)
	aside(func() {
		if err := n.closeFiles(); err != nil {
			n.log.Error().Err(err).Msg("a log or the event journal could not be closed")
		}
		close(closed)
	})
	within(flushTime, closed) // a stalled disk must not hold the end up
}

func (n *Node) stopTop(a address) {
	n.system.Root.Stop(a.pid)
	if !within(closeTime, a.gone) {
		n.log.Error().Str("actor", a.pid.GetId()).Msg("actor does not stop")
	}
}

// flush waits until the journal and the logs are on disk.
func (n *Node) flush() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), flushTime, errSilent)
	defer cancel()
	if err := n.flushOne(ctx, n.journalPID); err != nil {
		return err
	}
	for _, s := range n.services.all() {
		if err := n.flushOne(ctx, s.logPID); err != nil {
			return err
		}
	}
	return nil
}

// flushOne waits until what a journal or log has taken down by now is on disk, or
// was lost.
func (n *Node) flushOne(ctx context.Context, pid *actor.PID) error {
	_, err := askNow(ctx, n.at(pid), func(done chan<- receipt) any { return flush{done} })
	return err
}

// flushLogs does so for the logs of services.
func (n *Node) flushLogs(ctx context.Context, services []string) error {
	for _, name := range services {
		if err := n.flushOne(ctx, n.services.get(supervision.ChildID(name)).logPID); err != nil {
			return err
		}
	}
	return nil
}

// at is the address of an actor below records.
func (n *Node) at(pid *actor.PID) address { return address{pid, n.system.Root, n.records.gone} }

// Keeps tells whether the next bhnode could go on where this one is.
func (n *Node) Keeps() bool { return n.keeps.Load() }

// Snapshot returns the tree as supervision sees it.
func (n *Node) Snapshot(ctx context.Context) ([]supervision.View, error) {
	return ask(ctx, n.root, func(reply chan<- []supervision.View) any { return askSnapshot{reply} })
}

// LastEarlier returns the number of the last event before those of this node, 0 if
// there is none.
func (n *Node) LastEarlier() uint64 { return n.journal.before }
