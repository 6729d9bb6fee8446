package actors

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

const (
	// killTime is how long the kernel gets to let a killed process die before it is
	// called stuck.
	killTime = 10 * time.Second
	// settleTime is how long a process without a health check must live to be ready.
	settleTime = 100 * time.Millisecond
	// drainTime is how long a pipe that somebody else still holds is read after the
	// service is gone.
	drainTime = 500 * time.Millisecond
)

// worker is the actor of one service. It lives as long as the service is
// configured and owns its incarnations one after the other.
type worker struct {
	node   *nodeContext
	svc    *Service
	spec   *supervision.ChildSpec
	log    zerolog.Logger
	shown  *atomic.Pointer[Detail]
	buried uint64 // the incarnation its panicked predecessor left, 0: none

	life
	next *supervision.StartChild // waits for what a predecessor left to be gone
}

// life is the present incarnation.
type life struct {
	stage    supervision.Stage
	inc      uint64
	process  Process
	cancel   context.CancelFunc
	output   chan struct{} // closed when all output was delivered
	prober   proc.Prober
	checking bool            // a check is under way
	checks   *sync.WaitGroup // those under way
	lastBad  time.Time       // when the last bad check began
	health   *supervision.Health
	probes   int
	ordered  bool               // supervision ordered the stop
	why      supervision.Reason // of that order
	verdict  *supervision.ChildExited
	shutdown supervision.Shutdown
	detail   Detail
	startErr error
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
	Unknown     uint64 // probes that could not be carried out
}

// Receive implements actor.Actor.
func (w *worker) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		w.takeOver(c)
	case *actor.Stopping:
		w.abandon()
	case supervision.StartChild:
		w.start(c, m)
	case supervision.StopChild:
		w.stop(c, m)
	case supervision.KillChild:
		if m.Incarnation == w.inc {
			w.ordered = true
			w.signal(c, supervision.Kill)
		}
	case signalService:
		w.signalMain(m)
	case spawned:
		w.spawned(c, m)
	case exited:
		w.when(c, m.incarnation, supervision.MainExited)
	case graceOver:
		w.when(c, m.incarnation, supervision.GraceOver)
	case killOver:
		w.when(c, m.incarnation, supervision.KillOver)
	case allGone:
		w.when(c, m.incarnation, supervision.AllGone)
	case stuck:
		w.tellStuck(c, m)
	default:
		w.receiveProbe(c)
	}
}

// when gives a signal about an incarnation to the life it is about.
func (w *worker) when(c actor.Context, inc uint64, sig supervision.Signal) {
	if inc == w.inc {
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
	p, inc := w.process, w.inc
	switch d {
	case supervision.Abort:
		w.cancel()
	case supervision.Watch:
		w.watch(c)
	case supervision.TellReady:
		w.tell(c, supervision.ChildReady{ID: w.spec.ID, Incarnation: inc})
	case supervision.Ask:
		sig := w.svc.Spec.StopSignal
		if err := p.Signal(sig); err != nil && !errors.Is(err, proc.ErrProcessDone) {
			w.log.Warn().Err(err).Uint64("incarnation", inc).Msg("stop signal could not be sent")
		}
	case supervision.AskLeft:
		sig := w.svc.Spec.StopSignal
		detach(func() { _ = p.SignalLeft(sig) }) // what does not hear is killed
	case supervision.StartGrace:
		if w.shutdown.Mode == supervision.Timed {
			sendAfter(c, w.shutdown.Grace, graceOver{inc})
		}
	case supervision.KillLeft:
		detach(func() { _ = p.Kill() }) // AwaitGone sees whether it worked
	case supervision.StartKill:
		sendAfter(c, killTime, killOver{inc})
	case supervision.TellStuck:
		await(c, func() any {
			left, _ := p.Left()
			return stuck{inc, left}
		})
	case supervision.AwaitAll:
		w.awaitAll(c)
	case supervision.TellOver:
		w.over(c)
	}
}

// start begins an incarnation.
func (w *worker) start(c actor.Context, m supervision.StartChild) {
	if w.stage != supervision.Over {
		w.next = &m
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	exit := w.detail.Exit
	w.life = life{
		stage: supervision.Preparing, inc: m.Incarnation, cancel: cancel, shutdown: w.spec.Shutdown,
		checks: &sync.WaitGroup{}, health: supervision.NewHealth(w.svc.Health), detail: Detail{Incarnation: m.Incarnation, Exit: exit},
	}
	w.show()
	backend, spec := w.node.backend, w.svc.Spec
	await(c, func() any {
		defer cancel()
		p, err := backend.Start(ctx, spec, m.Incarnation)
		if err != nil {
			return spawned{incarnation: m.Incarnation, err: err}
		}
		prober, err := backend.Prober(spec, p)
		return spawned{m.Incarnation, p, prober, err}
	})
}

// spawned takes over the process that a start has made.
func (w *worker) spawned(c actor.Context, m spawned) {
	if m.incarnation != w.inc || w.stage != supervision.Preparing && w.stage != supervision.Aborting {
		if m.process != nil {
			w.bury(c, m.process)
		}
		return
	}
	w.process, w.prober = m.process, m.prober
	if m.process == nil {
		w.startErr = m.err
		w.signal(c, supervision.SpawnFailed)
		return
	}
	w.detail.Pid, w.detail.StartedAt = m.process.Pid(), m.process.StartedAt()
	w.show()
	w.capture()
	inc, ended := w.inc, m.process.Exited()
	await(c, func() any {
		<-ended
		return exited{inc}
	})
	if m.err != nil { // its probe cannot be made: it would never become ready
		w.verdict = &supervision.ChildExited{Kind: supervision.Abnormal, Reason: supervision.ReasonProbe, Detail: m.err.Error(), Hopeless: true}
		w.signal(c, supervision.Spawned)
		w.signal(c, supervision.Stop)
		return
	}
	w.signal(c, supervision.Spawned)
}

func (w *worker) stop(c actor.Context, m supervision.StopChild) {
	if m.Incarnation != w.inc {
		if w.next != nil && w.next.Incarnation == m.Incarnation {
			w.next = nil // it never began
			w.tell(c, supervision.ChildExited{ID: w.spec.ID, Incarnation: m.Incarnation, Kind: supervision.ShutdownExit, Reason: m.Reason})
		}
		return
	}
	w.ordered, w.why, w.shutdown = true, m.Reason, m.Shutdown
	sig := supervision.Stop
	if m.Shutdown.Mode == supervision.BrutalKill {
		sig = supervision.Kill
	}
	w.signal(c, sig)
}

// signalMain sends an operator's signal to the main process.
func (w *worker) signalMain(m signalService) {
	if w.process == nil || w.stage == supervision.Over {
		m.reply <- signalled{err: &supervision.OperationError{ID: w.spec.ID, What: "does not run"}}
		return
	}
	m.reply <- signalled{pid: w.process.Pid(), err: w.process.Signal(m.signal)}
}

// takeOver begins the actor: with what a predecessor that panicked has left.
func (w *worker) takeOver(c actor.Context) {
	w.stage = supervision.Over
	w.show()
	if left := w.node.backend.Lookup(w.svc.Spec.Name); left != nil {
		w.stage, w.inc, w.process = supervision.Killing, left.Incarnation(), left
		w.verdict = panicked(w.inc)
		w.perform(c, supervision.KillLeft)
		w.perform(c, supervision.StartKill)
		w.perform(c, supervision.AwaitAll)
		return
	}
	if w.buried != 0 {
		e := panicked(w.buried)
		e.ID = w.spec.ID
		w.tell(c, *e)
	}
}

func panicked(inc uint64) *supervision.ChildExited {
	return &supervision.ChildExited{
		Incarnation: inc, Kind: supervision.Abnormal, Reason: supervision.ReasonExit, Detail: "its actor panicked and took it along",
	}
}

// abandon is the backstop of a stop without an order: nothing may outlive its
// actor.
func (w *worker) abandon() {
	if w.cancel != nil {
		w.cancel()
	}
	if p := w.process; p != nil && w.stage != supervision.Over {
		detach(func() { _ = p.Kill() })
	}
}

// bury ends a process that no life owns.
func (w *worker) bury(c actor.Context, p Process) {
	inc := p.Incarnation()
	w.log.Warn().Uint64("incarnation", inc).Msg("an incarnation without an owner was ended")
	if w.stage == supervision.Over {
		w.stage, w.inc, w.process, w.verdict = supervision.Killing, inc, p, panicked(inc)
		w.perform(c, supervision.KillLeft)
		w.perform(c, supervision.StartKill)
		w.perform(c, supervision.AwaitAll)
	}
}

// tell reports to the supervisor.
func (w *worker) tell(c actor.Context, ev supervision.Event) { c.Send(c.Parent(), ev) }

// show publishes what the actor knows.
func (w *worker) show() {
	d := w.detail
	w.shown.Store(&d)
}
