package actors

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"
	"github.com/rs/zerolog"
)

var (
	// errGone answers a request to an actor that stopped before it could answer.
	errGone = errors.New("the node is stopping")
	// errSilent ends the wait for an answer that should come at once.
	errSilent = errors.New("the node does not answer")
)

// A registry of actors is a thousand maps, each of 32 by default: empty, they take 2.5 MB
// and a tenth of the time that bhnode takes to begin.
func init() { cmap.SHARD_COUNT = 1 } //nolint:gochecknoinits // before the first is made

// newSystem makes an actor system that logs to log.
func newSystem(log zerolog.Logger) *actor.ActorSystem {
	logger := slog.New(zerolog.NewSlogHandler(log.Level(zerolog.WarnLevel)))
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return logger }),
		actor.WithDeadLetterRequestLogging(false),
		actor.WithDeadLetterThrottleCount(0), // says nothing of them
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
	system.Extensions.Register(newCrew())
	return system
}

// endSystem ends one whose actors have stopped.
func endSystem(system *actor.ActorSystem) {
	system.Shutdown()
	crewOf(system).end()
}

// guard is around every actor. It closes done, if there is one, once the actor has
// stopped. From Stopping on it keeps messages away, so that no child is started
// that nobody would stop, and panics, which would cancel the stop or hang the
// parent.
func (n *nodeContext) guard(done chan<- struct{}) actor.PropsOption {
	stopping := false
	return actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(c actor.ReceiverContext, env *actor.MessageEnvelope) {
			switch env.Message.(type) {
			case *actor.Stopping:
				stopping = true
			case *actor.Stopped:
				if done != nil {
					defer close(done)
				}
			default:
				if stopping {
					return
				}
			}
			b, ok := caught(func() any { return n.receive(next, c, env) }).(broken)
			if !ok {
				return
			}
			n.metrics.Panicked()
			n.log.Error().Str("actor", c.Self().GetId()).Any("panic", b.reason).Bytes("stack", b.stack).Msg("actor panicked")
			if !stopping {
				panic(b.reason) //nolint:forbidigo // its parent stops it
			}
		}
	})
}

// receive gives a message to an actor; it returns one that says that a goroutine of
// the actor has panicked.
func (n *nodeContext) receive(next actor.ReceiverFunc, c actor.ReceiverContext, env *actor.MessageEnvelope) any {
	if b, ok := env.Message.(broken); ok {
		return b
	}
	if hearing := n.cfg.Hooks.Hearing; hearing != nil {
		hearing(c.Self().GetId(), env.Message)
	}
	next(c, env)
	return nil
}

// stopFailed is the answer to every failure of a child: stop it, never restart.
type stopFailed struct {
	failed func(reason any)
}

// HandleFailure implements actor.SupervisorStrategy.
func (s stopFailed) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any,
) {
	if s.failed != nil {
		s.failed(reason)
	}
	sup.StopChildren(who)
}

// inbox is where a goroutine or a timer of an actor sends what it has found.
type inbox struct {
	self *actor.PID
	root *actor.RootContext
}

func inboxOf(c actor.Context) inbox { return inbox{c.Self(), c.ActorSystem().Root} }

// await runs work on another goroutine and sends what it returns to the
// actor, nothing for nil. A panic in it is one of the actor.
func (in inbox) await(work func() any) {
	crewOf(in.root.ActorSystem()).Schedule(func() {
		if m := caught(work); m != nil {
			in.root.Send(in.self, m)
		}
	})
}

// broken is what work that has panicked sends: the actor panics when it comes.
type broken struct {
	reason any
	stack  []byte
}

func caught(work func() any) (message any) {
	defer func() {
		if reason := recover(); reason != nil {
			message = broken{reason, debug.Stack()}
		}
	}()
	return work()
}

// aside runs what nobody waits for and what needs no actor.
func aside(work func()) { go work() }

// await runs work for the actor, as inbox.await does.
func await(c actor.Context, work func() any) { inboxOf(c).await(work) }

// alarm sends a message to the actor itself after a time. It has one message under
// way at most; one that comes late all the same is outdated by what it is about.
type alarm struct{ timer *time.Timer }

func (a *alarm) set(c actor.Context, d time.Duration, message any) {
	a.cancel()
	in := inboxOf(c)
	a.timer = time.AfterFunc(d, func() { in.root.Send(in.self, message) })
}

func (a *alarm) cancel() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// address is an actor that can be asked.
type address struct {
	pid  *actor.PID
	root *actor.RootContext
	gone <-chan struct{} // closed when it will never answer
}

// ask sends a request that make builds around a reply channel and waits for the
// answer, for ctx, or for the end of the actor.
func ask[T any](ctx context.Context, to address, build func(reply chan<- T) any) (T, error) {
	reply := make(chan T, 1)
	to.root.Send(to.pid, build(reply))
	var err error
	select {
	case answer := <-reply:
		return answer, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-to.gone:
		err = errGone
	}
	select {
	case answer := <-reply: // both have happened
		return answer, nil
	default:
		var none T
		return none, err
	}
}

// askTime is how long an answer may take that needs no work.
const askTime = 10 * time.Second

// askNow is ask for what is answered at once. What was asked of an actor that
// panicked meanwhile is lost, so it does not wait for long.
func askNow[T any](ctx context.Context, to address, build func(reply chan<- T) any) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errSilent)
	defer cancel()
	return ask(ctx, to, build)
}

// within waits for a channel to be closed, for so long at most.
func within(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
