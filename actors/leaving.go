package actors

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/supervision"
)

// leavingTime is how long a node may take to come to rest before it is handed over.
const leavingTime = 20 * time.Second

var errEnding = errors.New("the node is stopping")

// leaving is how root hands the node over to another tree: when nothing is under way that
// could not be taken up, and it decides nothing from then on.
type leaving struct {
	reply chan<- error // nil: nobody has asked
	late  alarm
	left  bool
	stash []any // what came then
}

func (l *leaving) asked(c actor.Context, m handOver) {
	l.reply = m.reply
	l.late.set(c, leavingTime, handOverLate{})
}

// look hands over if the machine is at rest.
func (l *leaving) look(m *supervision.Machine) {
	switch {
	case l.reply == nil:
	case !m.Runs():
		l.reply <- errEnding
		l.reply = nil
	case m.AtRest():
		l.leave()
	}
}

func (l *leaving) leave() {
	if l.reply == nil {
		return
	}
	l.late.cancel()
	l.left = true
	l.reply <- nil
	l.reply = nil
}

// stashes keeps a message that would have something decided.
func (l *leaving) stashes(message any) bool {
	if !l.left {
		return false
	}
	switch message.(type) {
	case supervision.Event, wake, tooLong, operate, manage, shutdown, signalService, park, abandon, noteReload, noteAsked, handOver:
		l.stash = append(l.stash, message)
		return true
	}
	return false
}

// stay takes up again what was left.
func (l *leaving) stay(c actor.Context) {
	l.left = false
	for _, m := range l.stash {
		c.Send(c.Self(), m)
	}
	l.stash = nil
}

// HandOver returns when another tree can take the node over; nothing is decided from then
// on until StayOn.
func (n *Node) HandOver(ctx context.Context) error {
	failed, err := ask(ctx, n.root, func(reply chan<- error) any { return handOver{reply} })
	if err != nil {
		return err
	}
	return failed
}

// StayOn has a node go on that was not taken over.
func (n *Node) StayOn() { n.system.Root.Send(n.root.pid, stayOn{}) }
