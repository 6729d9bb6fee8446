package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/blackhole/bhnode/actors"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// perform does what a step says and waits until nothing goes on any more.
func (l *live) perform(do op) error {
	do = do.prefixed(l.prefix)
	l.mu.Lock()
	l.asked, l.first = nil, nil
	l.seen = 0
	l.mu.Unlock()
	switch do.Op {
	case "frozen":
		for _, id := range do.Sups {
			l.node.Freeze(supervision.ChildID(id))
		}
		l.await(func() bool { return l.frozen == len(do.Sups) })
		for _, o := range do.Ops {
			l.act(l.request(o))
			l.world.idle(l)
		}
		for _, id := range do.Sups {
			l.node.Thaw(supervision.ChildID(id))
		}
		l.await(func() bool { return l.frozen == 0 })
	case "par":
		for _, o := range do.Ops {
			r := l.request(o)
			time.AfterFunc(l.ms(o.AtMS), func() { l.act(r) })
		}
	case "wait":
		l.world.idle(l)
		time.Sleep(l.ms(do.MS))
	default:
		l.act(l.request(do))
	}
	return l.settle()
}

func (l *live) request(do op) *request {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &request{do: do}
	l.asked = append(l.asked, r)
	return r
}

// settle waits until everything has happened that follows.
func (l *live) settle() error {
	deadline := time.Now().Add(maxTime)
	for {
		l.world.idle(l)
		l.mu.Lock()
		next, waits := l.pending()
		broken, changed, seen := l.broken, l.changed, l.seen
		l.broken = nil
		l.mu.Unlock()
		switch {
		case len(broken) > 0:
			return errors.New(strings.Join(broken, "\n"))
		case seen > maxEvents, time.Now().After(deadline):
			return errors.New("it does not come to rest")
		case waits == "":
			return nil
		}
		select {
		case <-changed:
		case <-time.After(max(time.Until(next), 0) + l.world.patience()):
			l.world.idle(l)
			l.mu.Lock()
			_, still := l.pending()
			same := still == waits && l.changed == changed
			l.mu.Unlock()
			if same {
				return fmt.Errorf("waited in vain: %s", waits)
			}
		}
	}
}

// pending tells what is still to happen, and when ("": nothing). l.mu is held.
func (l *live) pending() (next time.Time, what string) {
	next = time.Now()
	for _, r := range l.asked {
		if !r.done {
			what = "an answer to " + r.do.String()
			next = next.Add(l.ms(r.do.AtMS))
		}
	}
	for _, id := range sortedKeys(l.lives) {
		if p := l.lives[id]; !p.due.IsZero() {
			what = fmt.Sprintf("what %s/%d does next", id, p.inc)
			if p.due.After(next) {
				next = p.due
			}
		}
	}
	return next, what
}

func (o op) String() string { return strings.TrimSpace(o.Op + " " + o.Fn + " " + o.Child + o.Dyn) }

// act does one thing, and returns when supervision has heard of it.
func (l *live) act(r *request) {
	do := r.do
	l.mu.Lock()
	r.begun = true
	l.mu.Unlock()
	switch do.Op {
	case "start_tree":
		l.start()
		l.done(r, nil)
	case "stop_root":
		go func() {
			_ = l.node.Stop(context.Background(), false, "a trace", "stop")
			l.done(r, nil)
		}()
	case "exit":
		l.exit(r)
	case "call":
		go l.call(r)
	default:
		l.t.Errorf("operation %q is not known", do.Op)
	}
	l.await(func() bool { return r.heard || r.done })
}

// await waits until something is so.
func (l *live) await(so func() bool) {
	give := time.After(maxTime)
	for {
		l.mu.Lock()
		over, changed := so(), l.changed
		l.mu.Unlock()
		if over {
			return
		}
		select {
		case <-changed:
		case <-give:
			l.t.Error("waited in vain for supervision to hear of a step")
			return
		}
	}
}

func (l *live) done(r *request, answer any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.done, r.answer = true, answer
	l.touch()
}

// touch wakes those who wait for a change. l.mu is held.
func (l *live) touch() {
	l.last = time.Now()
	close(l.changed)
	l.changed = make(chan struct{})
}

// exit ends a process, or a supervisor by a panic of its actor.
func (l *live) exit(r *request) {
	id := r.do.Child
	l.mu.Lock()
	p, nested := l.lives[id], l.sups[id] != 0
	switch {
	case nested:
		l.killed[id], l.doomed[l.actor(id)] = r.do.Reason, true
		l.mu.Unlock()
		l.poke(id)
		return
	case p == nil:
		r.done = true // it is dead already
		l.touch()
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	l.end(p, r.do.Reason)
}

// end has a process end by itself.
func (l *live) end(p *life, reason string) {
	l.mu.Lock()
	p.told = true
	ordered := !p.ordered.IsZero()
	l.mu.Unlock()
	l.world.end(p, reason, ordered)
}

// poke sends something through the actor of a supervisor.
func (l *live) poke(id string) {
	to := l.serviceBelow(id)
	if to == "" {
		l.t.Errorf("nothing lives below %s that a message could be for", id)
		return
	}
	go func() {
		_, _ = actors.NewControl(l.node).SignalService(context.Background(),
			&bhnodev1.SignalServiceRequest{Name: to, Signal: int32(syscall.SIGCONT)})
	}()
}

// serviceBelow is a living service below a supervisor, "" if there is none.
func (l *live) serviceBelow(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range sortedKeys(l.lives) {
		for above := l.above[p]; above != ""; above = l.above[above] {
			if above == id {
				return p
			}
		}
	}
	return ""
}

// call makes a management call.
func (l *live) call(r *request) {
	do := r.do
	m := supervision.Manage{
		Supervisor: supervision.ChildID(do.Sup), Verb: verbs[do.Fn], Child: supervision.ChildID(do.Child + do.Dyn), ByProcess: do.Dyn != "",
	}
	var services []actors.Service
	if m.Verb == supervision.ManageStart {
		n := do.Spec
		if n == nil {
			n = instance(l.tree, do)
		}
		m.Spec = n.spec()
		m.Spec.Shutdown.Grace *= l.world.scale()
		if m.Spec.Supervisor != nil {
			stretch(m.Spec.Supervisor, l.world.scale())
		}
		services = n.services(int(l.world.scale()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	a, err := l.node.Manage(ctx, m, services...)
	if err != nil {
		l.done(r, fmt.Sprintf("no answer to %s: %v", do, err))
		return
	}
	if s := &a.Spec; s.ID != "" {
		s.Shutdown.Grace /= l.world.scale()
	}
	l.done(r, l.bare(shape(do, a)))
}
