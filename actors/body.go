package actors

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

const (
	// drainTime is how long a pipe that somebody else still holds may be silent after
	// the service is gone.
	drainTime = 500 * time.Millisecond
	// drainMost is how long it is read at all then.
	drainMost = 10 * time.Second
)

// body is what of a life is no actor's: the process, what it prints, its probe. If
// the actor panics its successor finds the body in the service, and ends it.
type body struct {
	incarnation uint64
	cancel      context.CancelFunc // of the preparation and the checks
	made        chan struct{}      // closed when the start is over; then there are
	process     Process            // nil: there is none
	prober      proc.Prober
	probed      bool // it looks at something
	check       func() error
	err         error // why one of them is missing
	checks      sync.WaitGroup
	closing     sync.Once // of the prober
	ending      sync.Once

	output  chan struct{} // closed when all output was delivered
	streams atomic.Int32  // that are not at their end
	inHand  atomic.Int32  // batches that are being delivered
	moves   atomic.Uint64 // deliveries begun and ended
}

// make makes the process and begins to take its output. in is the inbox of the
// service's actor.
func (b *body) make(ctx context.Context, n *nodeContext, s *service, in inbox) {
	defer close(b.made)
	captured := false
	defer func() {
		if !captured {
			close(b.output)
		}
	}()
	if b.process, b.err = n.backend.Start(ctx, s.Spec, b.incarnation); b.err != nil {
		return
	}
	b.attach(ctx, n, s, in)
	captured = true
}

// attach begins to watch the process and to take its output.
func (b *body) attach(ctx context.Context, n *nodeContext, s *service, in inbox) {
	b.prober, b.err = n.backend.Prober(s.Spec, b.process)
	b.probed = b.err == nil && s.Spec.Probe.Type != proc.ProbeNone
	if b.err == nil {
		b.check = func() error { return b.prober.Check(ctx) }
	}
	b.capture(n, s, in)
}

// capture carries the output to the log.
func (b *body) capture(n *nodeContext, s *service, in inbox) {
	match, _ := b.prober.(*proc.LogMatch)
	joined := n.cfg.Logs.Raw && n.cfg.Logs.Dir != "" && match == nil // nobody needs to know where a line ends
	streams := []string{"stdout", "stderr"}
	b.streams.Store(int32(len(streams))) //nolint:gosec // it is two
	for _, stream := range streams {
		sink := newLogSink(n, s, stream, b.process.Pid())
		b.process.OnOutput(stream, func(ended bool) {
			if ended {
				b.endStream()
				return
			}
			in.await(func() any {
				defer b.endStream()
				b.process.Capture(stream, joined, b.delivery(sink, match))
				return nil
			})
		})
	}
}

// delivery takes lines to the log, and shows them to the check that waits for one.
func (b *body) delivery(sink *logSink, match *proc.LogMatch) proc.Deliver {
	var observe func(proc.Line) // nil: nobody waits for a line
	if match != nil {
		observe = match.Observer()
	}
	return func(at time.Time, lines []proc.Line, upTo uint64) bool {
		b.inHand.Add(1)
		b.moves.Add(1)
		defer func() {
			b.moves.Add(1)
			b.inHand.Add(-1)
		}()
		if observe != nil {
			for _, l := range lines {
				observe(l)
			}
		}
		return sink.write(at, lines, upTo)
	}
}

func (b *body) endStream() {
	if b.streams.Add(-1) == 0 {
		close(b.output)
	}
}

// closeProber ends the checks; it returns at once.
func (b *body) closeProber(n *nodeContext) {
	b.cancel()
	b.closing.Do(func() {
		select {
		case <-b.made:
			if !b.probed {
				return
			}
		default:
		}
		n.finish(func() {
			<-b.made
			b.checks.Wait()
			if b.prober != nil {
				_ = b.prober.Close() // nothing is kept that matters
			}
		})
	})
}

// end returns once the last line of a process of which nothing is alive was
// delivered, its post_stop hooks have run and nothing is held for it any more.
func (b *body) end(s *service, reason string) {
	b.ending.Do(func() {
		defer b.release(s)
		b.drain()
		if err := b.process.PostStop(context.Background(), s.Spec, reason); err != nil {
			s.log.Warn().Err(err).Uint64("incarnation", b.incarnation).Msg("post_stop hook ended badly")
		}
	})
}

// release gives the process up and takes down what it has used in all.
func (b *body) release(s *service) {
	b.process.Release()
	if u, err := b.process.Usage(); err == nil {
		s.tally.take(b.incarnation, b.process.StartedAt(), u, b.process.Counters())
	}
}

// isDrained tells whether the output has ended.
func (b *body) isDrained() bool {
	select {
	case <-b.output:
		return true
	default:
		return false
	}
}

// drain returns when the output has ended, or is silent though somebody holds it.
func (b *body) drain() {
	if b.isDrained() {
		return
	}
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	for waited := drainTime; ; waited += drainTime {
		before := b.moves.Load()
		select {
		case <-b.output:
			return
		case <-timer.C:
		}
		if b.inHand.Load() == 0 && b.moves.Load() == before || waited >= drainMost {
			break
		}
		timer.Reset(drainTime)
	}
	b.process.CutOutput()
	<-b.output
}

// abandon kills what an actor that stops without an order leaves.
func (b *body) abandon(n *nodeContext, s *service) {
	b.closeProber(n)
	n.finish(func() {
		<-b.made
		if b.process == nil {
			return
		}
		if err := b.process.Kill(); err != nil {
			s.log.Error().Err(err).Msg("service could not be killed")
		}
		ctx, cancel := context.WithTimeout(context.Background(), killTime)
		defer cancel()
		if b.process.AwaitGone(ctx) == nil {
			b.end(s, string(supervision.ReasonExit))
		}
	})
}
