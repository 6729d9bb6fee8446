package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

const (
	samplerName = "sampler"
	// firstSample is when a node is first looked at.
	firstSample = time.Second
	// connectionsTime lies at least between two looks at the connections.
	connectionsTime = time.Minute
	// freshTime is how old the sample of a status may be.
	freshTime = time.Second
	// sampleWait is how long who asks for one waits; then he gets what there is.
	sampleWait = 500 * time.Millisecond
)

type (
	// sampleDue: it is time to look.
	sampleDue struct{}
	// sampleNow wants a sample that is no older than that.
	sampleNow struct {
		age   time.Duration
		reply chan<- struct{}
	}
	// sampled: the look is over.
	sampled struct {
		at          time.Time
		connections bool
		rest
	}
)

// rest tells whether anybody has to be looked at: while no service runs at all, none of them
// uses more, nor less but for what the kernel takes back.
type rest struct {
	used  time.Duration // what all had used of processors before the look; 0: not known
	still int           // looks in a row before which nobody has run
	each  time.Time     // the last look at each
}

const (
	// restsAfter is how many looks find that nobody has run until none is taken at each: the
	// first of them has to take down that nobody does any more.
	restsAfter = 2
	// restsFor is how long at most.
	restsFor = 5 * time.Minute
)

// after is the rest after another look at the sum; all tells whether each is to be looked at.
func (r rest) after(used time.Duration, now time.Time) (next rest, all bool) {
	next = rest{used: used, still: r.still + 1, each: r.each}
	if used == 0 || used != r.used {
		next.still = 0
	}
	if next.still < restsAfter || now.Sub(r.each) >= restsFor {
		next.each = now
		return next, true
	}
	return next, false
}

// sampler looks at what the services use: every interval, and when asked.
type sampler struct {
	node      *nodeContext
	due       alarm
	looking   bool
	taken     time.Time // when the last look was over
	connected time.Time // the last look at the connections
	rest      rest
	waiting   []chan<- struct{}
}

// Receive implements actor.Actor.
func (s *sampler) Receive(c actor.Context) {
	every := s.node.cfg.SampleInterval
	switch m := c.Message().(type) {
	case *actor.Started:
		if every > 0 {
			s.due.set(c, min(firstSample, every), sampleDue{})
		}
	case *actor.Stopping:
		s.due.cancel()
	case sampleDue:
		s.due.set(c, every, sampleDue{})
		s.look(c)
	case sampleNow:
		if time.Since(s.taken) < m.age {
			m.reply <- struct{}{}
			return
		}
		s.waiting = append(s.waiting, m.reply)
		s.look(c)
	case sampled:
		s.looking, s.taken, s.rest = false, m.at, m.rest
		if m.connections {
			s.connected = m.at
		}
		for _, reply := range s.waiting {
			reply <- struct{}{}
		}
		s.waiting = nil
	}
}

// look begins a look at all services, unless one is under way.
func (s *sampler) look(c actor.Context) {
	if s.looking {
		return
	}
	s.looking = true
	n, connections, before := s.node, time.Since(s.connected) >= connectionsTime, s.rest
	await(c, func() any {
		services := n.services.all()
		next, all := before.after(n.backend.Used(), time.Now())
		if !all {
			return sampled{time.Now(), false, next}
		}
		for _, svc := range services {
			svc.look()
		}
		if connections {
			if of, err := n.backend.Connections(); err == nil {
				for _, svc := range services {
					svc.tally.connect(of)
				}
			}
		}
		return sampled{time.Now(), connections, next}
	})
}

// look looks at what the present life of a service uses.
func (s *service) look() {
	d := s.detail.Load()
	if d.Gauge == nil {
		return
	}
	if u, err := d.Gauge.Usage(); err == nil {
		s.tally.take(d.Incarnation, d.StartedAt, u, d.Gauge.Counters())
	}
}

// sample sees to it that what the services use was looked at no longer ago than age. Where
// that takes long, what is known is told.
func (n *Node) sample(ctx context.Context, age time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, sampleWait)
	defer cancel()
	_, _ = ask(ctx, n.at(n.samplerPID), func(reply chan<- struct{}) any { return sampleNow{age, reply} })
}
