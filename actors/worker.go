package actors

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

const (
	// killTime is how long the kernel gets to let a killed process die before it is
	// called stuck.
	killTime = 10 * time.Second
	// settleTime is how long a process without a health check must live to be ready.
	settleTime = 100 * time.Millisecond
)

// worker is the actor of one service. It lives as long as the service is
// configured and owns its incarnations one after the other.
type worker struct {
	node   *nodeContext
	svc    *service
	spec   *supervision.ChildSpec
	buried uint64 // the last incarnation that a panicked predecessor was told to start; 0: none

	life
	next *waiting // for what a predecessor left to be gone
}

// life is the present incarnation.
type life struct {
	stage    supervision.Stage
	inc      uint64
	body     *body     // nil: over
	awaited  bool      // its end is awaited already
	empty    bool      // nothing of it is alive
	checking bool      // a check is under way
	overdue  time.Time // when start_period was over; zero: it is not
	// confirming: its first verdict as it is watched now is still to be told.
	confirming bool
	health     *supervision.Health
	probes     int
	ordered    bool               // supervision ordered the stop
	why        supervision.Reason // of that order
	verdict    *supervision.ChildExited
	shutdown   supervision.Shutdown
	detail     Detail
	begun      time.Time // when its start was ordered; zero: by an earlier bhnode

	startDue, stopDue, checkDue alarm
}

// waiting is an incarnation that is to come after the present one.
type waiting struct {
	incarnation uint64
	ended       *supervision.ChildExited // it is not to come at all
}

// Detail is what a service's actor knows and supervision does not.
type Detail struct {
	Incarnation uint64
	Pid         int // 0: none
	StartedAt   time.Time
	Exit        *proc.Exit // of the last life that ended
	Probed      bool
	LastCheck   time.Time
	LastError   string
	Latency     time.Duration
	Failures    int
	Unknown     int   // checks that could not be carried out
	Gauge       gauge // of that incarnation; nil: it had no process
}

func newWorker(n *nodeContext, of *supervision.Node, buried uint64) *worker {
	s := n.services.get(of.Spec.ID)
	return &worker{node: n, svc: s, spec: &of.Spec, buried: buried}
}

// Receive implements actor.Actor.
func (w *worker) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		w.takeOver(c)
	case *actor.Stopping:
		w.abandon()
	case supervision.StartChild:
		w.start(c, m.Incarnation)
	case supervision.AdoptChild:
		w.adopt(c, m)
	case supervision.StopChild:
		w.stop(c, m)
	case supervision.KillChild:
		if m.Incarnation == w.inc {
			w.kill(c)
		}
	case signalService:
		w.signalMain(m)
	case spawned:
		if m.incarnation == w.inc && (w.stage == supervision.Preparing || w.stage == supervision.Aborting) {
			w.spawned(c)
		}
	case exited:
		w.when(c, m.incarnation, supervision.MainExited)
	case graceOver:
		w.when(c, m.incarnation, supervision.GraceOver)
	case killOver:
		w.when(c, m.incarnation, supervision.KillOver)
	case allGone:
		if m.incarnation == w.inc {
			w.signal(c, supervision.AllGone)
		}
	case emptied:
		if m.incarnation == w.inc && w.awaited && !w.empty && w.body != nil {
			w.emptied(c)
		}
	case stuck:
		w.tellStuck(c, m)
	case lookAgain:
		if m.incarnation == w.inc && w.stage == supervision.Stuck {
			w.lookForLeft(c)
		}
	default:
		w.receiveProbe(c)
	}
}

// when gives a signal about the processes of an incarnation to the life it is
// about, while there are any.
func (w *worker) when(c actor.Context, inc uint64, sig supervision.Signal) {
	if inc == w.inc && !w.empty {
		w.signal(c, sig)
	}
}

// signal moves the life on and does what that asks for.
func (w *worker) signal(c actor.Context, sig supervision.Signal) {
	next, deeds := w.stage.Next(sig)
	w.stage = next
	for _, d := range deeds {
		w.perform(c, d)
	}
}

func (w *worker) perform(c actor.Context, d supervision.Deed) {
	inc := w.inc
	switch d {
	case supervision.Abort:
		w.body.cancel()
	case supervision.Watch:
		w.watch(c)
	case supervision.TellReady:
		if !w.begun.IsZero() {
			w.node.metrics.Ready(string(w.spec.ID), time.Since(w.begun))
		}
		w.tell(c, supervision.ChildReady{ID: w.spec.ID, Incarnation: inc})
	case supervision.Ask:
		if err := w.body.process.Signal(w.svc.Spec.StopSignal); err != nil && !errors.Is(err, proc.ErrProcessDone) {
			w.svc.log.Warn().Err(err).Uint64("incarnation", inc).Msg("stop signal could not be sent")
		}
	case supervision.AskLeft:
		w.askLeft(c)
	case supervision.StartGrace:
		if w.shutdown.Mode == supervision.Timed {
			w.stopDue.set(c, w.shutdown.Grace, graceOver{inc})
		}
	case supervision.KillLeft:
		w.killLeft(c)
	case supervision.StartKill:
		w.stopDue.set(c, killTime, killOver{inc})
	case supervision.TellStuck:
		w.lookForLeft(c)
	case supervision.AwaitAll:
		w.awaitAll(c, false)
	case supervision.EndLeft:
		w.awaitAll(c, true)
	case supervision.TellOver:
		w.over(c)
	}
}

// start begins an incarnation.
func (w *worker) start(c actor.Context, inc uint64) {
	if w.stage != supervision.Over {
		w.next = &waiting{incarnation: inc}
		w.signal(c, supervision.Kill) // supervision knows of no life before it
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &body{incarnation: inc, cancel: cancel, made: make(chan struct{}), output: make(chan struct{})}
	exit := w.detail.Exit
	w.life = life{
		stage: supervision.Preparing, inc: inc, body: b, shutdown: w.spec.Shutdown,
		health: supervision.NewHealth(w.svc.Health), detail: Detail{Incarnation: inc, Exit: exit}, begun: time.Now(),
	}
	w.svc.body = b
	w.show()
	n, s, in := w.node, w.svc, inboxOf(c)
	in.await(func() any {
		b.make(ctx, n, s, in)
		return spawned{inc}
	})
}

// spawned: the start is over.
func (w *worker) spawned(c actor.Context) {
	b, inc := w.body, w.inc
	if b.process == nil {
		w.signal(c, supervision.SpawnFailed)
		return
	}
	w.detail.Pid, w.detail.StartedAt, w.detail.Gauge = b.process.Pid(), b.process.StartedAt(), b.process
	w.show()
	in := inboxOf(c)
	b.process.OnExit(func() { in.root.Send(in.self, exited{inc}) })
	w.signal(c, supervision.Spawned)
	if b.err != nil && w.stage == supervision.Starting { // without its probe it would never become ready
		w.condemn(c, supervision.ReasonProbe, b.err.Error())
		w.verdict.Hopeless = true
	}
}

func (w *worker) stop(c actor.Context, m supervision.StopChild) {
	if m.Incarnation != w.inc {
		if w.next != nil && w.next.incarnation == m.Incarnation {
			w.next.ended = &supervision.ChildExited{ID: w.spec.ID, Incarnation: m.Incarnation, Kind: supervision.ShutdownExit, Reason: m.Reason}
		}
		return
	}
	w.ordered, w.why, w.shutdown = true, m.Reason, m.Shutdown
	w.signal(c, w.stopSignal())
}

// stopSignal is what begins a stop.
func (w *worker) stopSignal() supervision.Signal {
	if w.shutdown.Mode == supervision.BrutalKill {
		return supervision.Kill
	}
	return supervision.Stop
}

// kill ends the incarnation at once; where only its hooks run, those.
func (w *worker) kill(c actor.Context) {
	w.ordered = true
	if w.empty && w.body != nil {
		w.killLeft(c)
		return
	}
	w.signal(c, supervision.Kill)
}

// signalMain sends an operator's signal to the main process.
func (w *worker) signalMain(m signalService) {
	if w.body == nil || w.stage == supervision.Preparing || w.stage == supervision.Aborting {
		m.reply <- signalled{err: &supervision.OperationError{ID: w.spec.ID, What: "does not run"}}
		return
	}
	m.reply <- signalled{pid: w.body.process.Pid(), err: w.body.process.Signal(m.signal)}
}

// takeOver begins the actor: with what a predecessor that panicked has left.
func (w *worker) takeOver(c actor.Context) {
	w.stage = supervision.Over
	w.detail.Exit = w.svc.detail.Load().Exit
	w.show()
	b := w.svc.body
	if b == nil {
		if w.buried != 0 {
			w.tell(c, w.panicked(w.buried))
		}
		return
	}
	verdict := w.panicked(b.incarnation)
	w.stage, w.inc, w.body, w.verdict = supervision.Aborting, b.incarnation, b, &verdict
	if w.buried > b.incarnation {
		ended := w.panicked(w.buried)
		w.next = &waiting{w.buried, &ended}
	}
	b.closeProber(w.node)
	await(c, func() any {
		<-b.made
		return spawned{b.incarnation}
	})
}

func (w *worker) panicked(inc uint64) supervision.ChildExited {
	return supervision.ChildExited{
		ID: w.spec.ID, Incarnation: inc, Kind: supervision.Abnormal, Reason: supervision.ReasonExit,
		Detail: "its actor panicked and took it along",
	}
}

// abandon is the backstop of a stop without an order: nothing may outlive its
// actor.
func (w *worker) abandon() {
	w.cancelAlarms()
	if w.body != nil {
		w.body.abandon(w.node, w.svc)
	}
}

func (w *worker) cancelAlarms() {
	for _, a := range []*alarm{&w.startDue, &w.stopDue, &w.checkDue} {
		a.cancel()
	}
}

// tell reports to the supervisor.
func (w *worker) tell(c actor.Context, ev supervision.Event) { c.Send(c.Parent(), ev) }

// show publishes what the actor knows.
func (w *worker) show() {
	d := w.detail
	w.svc.detail.Store(&d)
}
