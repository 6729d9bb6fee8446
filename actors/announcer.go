package actors

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
)

// announceRoom is how many events may wait for a command that is slow; then the oldest are
// dropped.
const announceRoom = 100

func announcerName(i int) string { return "announcer/" + strconv.Itoa(i) }

type (
	// announced: the command has run.
	announced struct{ err error }
	// settled is answered when nothing waits and nothing runs.
	settled struct{ reply chan<- struct{} }
)

// announcer runs one command for events, one after the other.
type announcer struct {
	node    *nodeContext
	of      Announcement
	queue   []eventRecord
	running bool
	dropped int
	waiting []chan<- struct{}
	ctx     context.Context //nolint:containedctx // of the commands; it ends with the actor
	cancel  context.CancelFunc
}

func newAnnouncer(n *nodeContext, of Announcement) *announcer {
	a := &announcer{node: n, of: of}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// wants tells whether an event is to be told of.
func (a *Announcement) wants(e *eventRecord) bool {
	return slices.Contains(a.Types, e.Type) &&
		(a.Names == nil || slices.Contains(a.Names, e.Service) || slices.Contains(a.Names, e.Supervisor))
}

// announce sends events to those that want them.
func (r *rootActor) announce(c actor.Context, records []eventRecord) {
	for i := range r.node.cfg.Announcements {
		of := &r.node.cfg.Announcements[i]
		var wanted []eventRecord
		for j := range records {
			if of.wants(&records[j]) {
				wanted = append(wanted, records[j])
			}
		}
		if len(wanted) > 0 {
			c.Send(r.node.announcers[i], writeEvents{wanted})
		}
	}
}

// Receive implements actor.Actor.
func (a *announcer) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Stopping:
		a.cancel()
	case writeEvents:
		a.queue = append(a.queue, m.records...)
		if over := len(a.queue) - announceRoom; over > 0 {
			a.queue = slices.Delete(a.queue, 0, over)
			a.dropped += over
		}
		a.next(c)
	case announced:
		a.running = false
		if m.err != nil {
			a.node.log.Warn().Err(m.err).Strs("command", a.of.Command).Msg("event could not be told")
		}
		a.next(c)
	case settled:
		a.waiting = append(a.waiting, m.reply)
		a.next(c)
	}
}

// next runs the command for the next event.
func (a *announcer) next(c actor.Context) {
	if a.running {
		return
	}
	if a.dropped > 0 {
		a.node.log.Warn().Int("events", a.dropped).Strs("command", a.of.Command).Msg("events were not told: the command is too slow for them")
		a.dropped = 0
	}
	if len(a.queue) == 0 {
		for _, reply := range a.waiting {
			reply <- struct{}{}
		}
		a.waiting = nil
		return
	}
	e := a.queue[0]
	a.queue = a.queue[1:]
	a.running = true
	back, of, ctx, name := a.node.backend, a.of, a.ctx, a.node.cfg.Name
	await(c, func() any { return announced{back.Announce(ctx, of.Command, varsOf(name, e), of.Timeout)} })
}

// varsOf is what a command is told of an event: all of it as JSON, and what a script wants
// most.
func varsOf(node string, e eventRecord) []proc.EnvVar {
	text, _ := json.Marshal(e) // it came from there
	return []proc.EnvVar{
		{Name: "BHNODE_EVENT", Value: string(text)},
		{Name: "BHNODE_EVENT_NODE", Value: node},
		{Name: "BHNODE_EVENT_SEQ", Value: strconv.FormatUint(e.Seq, 10)},
		{Name: "BHNODE_EVENT_TIME", Value: e.Time.Format(time.RFC3339Nano)},
		{Name: "BHNODE_EVENT_TYPE", Value: e.Type},
		{Name: "BHNODE_EVENT_NAME", Value: e.Service + e.Supervisor},
		{Name: "BHNODE_EVENT_MESSAGE", Value: e.Message},
	}
}

// announceTime is how long the commands get to tell of the end of the node.
const announceTime = 10 * time.Second

// tellAll returns when all events were told.
func (n *Node) tellAll() {
	ctx, cancel := context.WithTimeout(context.Background(), announceTime)
	defer cancel()
	for _, pid := range n.announcers {
		_, _ = ask(ctx, n.at(pid), func(reply chan<- struct{}) any { return settled{reply} }) // late: it is cut off
	}
}
