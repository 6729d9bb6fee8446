package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/supervision"
)

// keeper keeps the holds on disk, one write at a time, the newest last. Operators
// are answered when what they asked for would survive a crash of bhnode.
type keeper struct {
	node    *nodeContext
	writing chan struct{} // closed when the write under way is over; nil: none is
	next    []supervision.Hold
	behind  bool // next is to be written
	answers []func()
}

// kept: a write is over.
type kept struct{ err error }

func (k *keeper) keep(c actor.Context, holds []supervision.Hold) {
	k.next, k.behind = holds, true
	if k.writing == nil {
		k.write(c)
	}
}

func (k *keeper) write(c actor.Context) {
	holds, over, backend := k.next, make(chan struct{}), k.node.backend
	k.writing, k.next, k.behind = over, nil, false
	await(c, func() any {
		defer close(over)
		return kept{backend.KeepHolds(holds)}
	})
}

func (k *keeper) kept(c actor.Context, m kept) {
	k.writing = nil
	if m.err != nil {
		k.node.log.Error().Err(m.err).Msg("holds could not be kept; they are forgotten when the node ends")
	}
	if k.behind {
		k.write(c)
		return
	}
	for _, answer := range k.answers {
		answer()
	}
	k.answers = nil
}

// answer answers an operator, once the holds are kept.
func (k *keeper) answer(reply chan<- error, err error) {
	if k.writing == nil {
		reply <- err
		return
	}
	k.answers = append(k.answers, func() { reply <- err })
}

// finish has what is left written though its actor ends.
func (k *keeper) finish() {
	writing, holds, behind := k.writing, k.next, k.behind
	if writing == nil {
		return
	}
	k.node.finish(func() {
		<-writing
		if behind {
			if err := k.node.backend.KeepHolds(holds); err != nil {
				k.node.log.Error().Err(err).Msg("holds could not be kept")
			}
		}
	})
}
