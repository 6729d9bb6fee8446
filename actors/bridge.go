package actors

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
)

// errGone answers a request to an actor that stopped before it could answer.
var errGone = errors.New("the node is stopping")

// newSystem makes an actor system that logs to log.
func newSystem(log zerolog.Logger) *actor.ActorSystem {
	logger := slog.New(zerolog.NewSlogHandler(log.Level(zerolog.WarnLevel)))
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return logger }),
		actor.WithDeadLetterRequestLogging(false),
		actor.WithDeadLetterThrottleCount(0),
	)
}

// guard is around every actor. It closes done, if there is one, once the actor has stopped, and
// keeps a panic in Stopping or Stopped from cancelling the stop or hanging the
// parent.
func guard(done chan<- struct{}, log zerolog.Logger) actor.PropsOption {
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
			}
			defer func() {
				reason := recover()
				if reason == nil {
					return
				}
				log.Error().Str("actor", c.Self().GetId()).Any("panic", reason).Bytes("stack", debug.Stack()).Msg("actor panicked")
				if !stopping {
					panic(reason) // its parent stops it
				}
			}()
			next(c, env)
		}
	})
}

// stopFailed is the answer to every failure of a child: stop it, never restart.
type stopFailed struct {
	failed func(who *actor.PID, reason any)
}

// HandleFailure implements actor.SupervisorStrategy.
func (s stopFailed) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any,
) {
	s.failed(who, reason)
	sup.StopChildren(who)
}

// await runs work on a goroutine of its own and sends what it returns to the actor.
func await(c actor.Context, work func() any) {
	self, root := c.Self(), c.ActorSystem().Root
	go func() { root.Send(self, work()) }()
}

// detach runs work whose outcome nobody waits for.
func detach(work func()) { go work() }

// sendAfter sends a message to the actor itself after a time. It is never
// cancelled; the message says what it is about.
func sendAfter(c actor.Context, d time.Duration, message any) {
	self, root := c.Self(), c.ActorSystem().Root
	time.AfterFunc(d, func() { root.Send(self, message) })
}

// ask sends a request that make builds around a reply channel and waits for the
// answer, for ctx, or for the end of the node.
func ask[T any](ctx context.Context, n *Node, to *actor.PID, build func(reply chan<- T) any) (T, error) {
	reply := make(chan T, 1)
	n.system.Root.Send(to, build(reply))
	var none T
	select {
	case answer := <-reply:
		return answer, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-n.stopped:
		return none, errGone
	}
}
