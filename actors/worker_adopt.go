package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// adopt takes an incarnation over that an earlier bhnode was told to start: it goes on
// where that was. One whose process was never made is made now; one that had started and
// of which nothing is recorded any more has ended, which could not be told.
func (w *worker) adopt(c actor.Context, m supervision.AdoptChild) {
	p := w.node.backend.Adopted(string(m.ID), m.Incarnation)
	if p == nil && m.Started {
		exit := proc.Exit{Code: -1, At: time.Now()}
		w.detail.Incarnation, w.detail.Exit = m.Incarnation, &exit
		w.show()
		w.tell(c, supervision.ChildExited{
			ID: w.spec.ID, Incarnation: m.Incarnation, Kind: supervision.Abnormal, Reason: supervision.ReasonExit,
			Detail: exit.String(), Attrs: exitAttrs(exit, proc.Counters{}),
		})
		return
	}
	if p == nil {
		w.start(c, m.Incarnation)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &body{incarnation: m.Incarnation, cancel: cancel, made: make(chan struct{}), output: make(chan struct{}), process: p}
	w.life = life{
		inc: m.Incarnation, body: b, shutdown: w.spec.Shutdown, health: supervision.NewHealth(w.svc.Health),
		detail: Detail{
			Incarnation: m.Incarnation, Exit: w.detail.Exit, Pid: p.Pid(), StartedAt: p.StartedAt(), Gauge: p,
		},
	}
	w.svc.body = b
	b.attach(ctx, w.node, w.svc, inboxOf(c))
	close(b.made)
	w.show()
	in := inboxOf(c)
	p.OnExit(func() { in.root.Send(in.self, exited{m.Incarnation}) })
	w.goOn(c, m)
}

// goOn enters the stage that the life was in.
func (w *worker) goOn(c actor.Context, m supervision.AdoptChild) {
	if !m.Started { // that was not told any more
		w.stage = supervision.Preparing
		w.signal(c, supervision.Spawned)
		return
	}
	w.tell(c, supervision.ChildAdopted{ID: w.spec.ID, Incarnation: w.inc, Pid: w.detail.Pid})
	if !m.Ready {
		w.stage = supervision.Starting
		ran := time.Since(w.detail.StartedAt)
		if m.Confirm && w.svc.Spec.Probe.Type != proc.ProbeNone {
			ran = 0
		}
		w.check(c, ran)
		return
	}
	w.stage, w.health = supervision.Running, supervision.ResumeHealth(w.svc.Health, m.Healthy)
	w.confirming = m.Confirm
	if w.svc.Spec.Probe.Type != proc.ProbeNone && w.latch() == nil {
		w.probe(c)
	}
}
