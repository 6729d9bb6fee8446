package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/proc/logstore"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

const (
	redraw      = 100 * time.Millisecond // how often the live lines are drawn anew
	lull        = time.Second            // after so long without an end, without a terminal, a stop says what it waits for
	reminder    = 5 * time.Second        // and how often while it stays so
	patience    = time.Second            // what a terminal gets to take the last lines
	showPace    = 1 << 20                // bytes of lines a second that are shown; nobody reads more
	missingTime = time.Second            // how often at most is told how many are not
)

// show is what `run` prints: how the start goes, then what the services say and
// what happens to them. In the background it is the start only: the rest is in the logs
// and in the journal, which have their bounds. It has a goroutine of its own, so that a terminal that
// takes nothing holds up nothing but itself.
type show struct {
	d      *daemon
	events *actors.Follower[journal.Record]
	logs   *actors.Follower[logstore.Entry]
	tell   chan func() // done by the goroutine
	quit   chan struct{}
	over   chan struct{}

	names    []string
	lines    *logPrinter
	facts    eventPrinter
	live     block
	timing   timing
	starting bool
	halting  bool
	hushed   bool      // shows no more of services
	remind   time.Time // when to say next what a stop waits for
	missing  time.Time // when was told what is not shown
}

func newShow(d *daemon) *show {
	s := &show{
		d: d, events: actors.NewFollower[journal.Record](), logs: actors.NewFollower[logstore.Entry]().AtPace(showPace),
		tell: make(chan func(), 8), quit: make(chan struct{}), over: make(chan struct{}),
		lines: newLogPrinter(d.app.out, d.app.now), facts: eventPrinter{screen: d.app.err, clock: d.app.now},
		live: block{screen: d.app.err}, timing: newTiming(d.cfg), starting: true,
		hushed: d.detached && d.will != nil, // nobody waits for the start of an heir
	}
	for i := range d.cfg.Services {
		if d.cfg.Services[i].Enabled {
			s.names = append(s.names, d.cfg.Services[i].Name)
			s.lines.know(d.cfg.Services[i].Name)
		}
	}
	switch {
	case d.past != nil && d.will.reloads():
		d.app.err.printf("Going on with %s and another configuration\n", plural(len(d.past.Lives()), "service"))
	case d.past != nil:
		d.app.err.printf("Going on with %s, where the bhnode before this one was cut off\n", plural(len(d.past.Lives()), "service"))
	default:
		d.app.err.printf("Starting %s\n", plural(len(s.names), "service"))
	}
	past, err := d.node.FollowEvents(context.Background(), s.events)
	if err != nil {
		d.log.Warn().Err(err).Msg("events cannot be shown")
	}
	if s.wantsLines() && !s.hushed {
		if _, err := d.node.FollowLogs(context.Background(), s.names, s.logs); err != nil {
			d.log.Warn().Err(err).Msg("service lines cannot be shown")
		}
	}
	past = slices.DeleteFunc(past, func(e journal.Record) bool { return e.Seq <= d.node.LastEarlier() })
	go s.run(past)
	return s
}

// wantsLines tells whether anybody reads what is printed.
func (s *show) wantsLines() bool {
	f, ok := s.d.app.out.Writer.(*os.File)
	if !ok {
		return true
	}
	info, err := f.Stat()
	null, err2 := os.Stat(os.DevNull)
	return err != nil || err2 != nil || !os.SameFile(info, null)
}

func (s *show) run(past []journal.Record) {
	defer close(s.over)
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	s.see(past)
	for {
		select {
		case batch := <-s.events.Batches():
			s.see(batch)
		case batch := <-s.logs.Batches():
			s.print(batch)
		case do := <-s.tell:
			do()
			tick.Reset(redraw)
		case <-tick.C:
			s.draw()
			if !s.starting && !s.halting {
				tick.Reset(time.Hour) // nothing is live
			}
		case <-s.quit:
			s.drain()
			return
		}
	}
}

// drain prints what has come.
func (s *show) drain() {
	s.live.erase()
	for {
		select {
		case batch := <-s.events.Batches():
			s.see(batch)
		case batch := <-s.logs.Batches():
			s.print(batch)
		case do := <-s.tell:
			do()
		default:
			s.tellMissing()
			return
		}
	}
}

// see takes events in, and prints those a person wants to know of.
func (s *show) see(batch []journal.Record) {
	var text strings.Builder
	tell := func() {
		if text.Len() > 0 {
			s.live.erase()
			s.d.app.err.printf("%s", text.String())
			text.Reset()
		}
	}
	defer tell()
	for _, e := range batch {
		s.timing.see(e)
		if e.Type == supervision.NodeReady || e.Type == supervision.NodeStopped {
			tell()
		}
		if e.Type == supervision.NodeReady {
			s.started(s.timing.summary(len(s.names), s.d.app.err.pick("→", "->")))
		}
		if e.Type == supervision.NodeStopped {
			s.live.erase()
			s.d.app.err.printf("The node has stopped\n")
		}
		if e.Type == supervision.ServiceStopped {
			s.remind = s.d.app.now().Add(lull)
		}
		if s.tells(e.Type) {
			e.Attrs = nil // which are not printed
			text.WriteString(s.facts.line(actors.EventOf(e)))
		}
	}
}

// tells says whether an event is printed: what goes wrong always; what goes well
// unless the live lines show it.
func (s *show) tells(kind string) bool {
	if s.hushed {
		return false
	}
	switch kind {
	case supervision.ServiceExited, supervision.ServiceFailed, supervision.ServiceUnhealthy, supervision.ServiceStuck,
		supervision.ServiceBackoff, supervision.SupervisorRestarting, supervision.SupervisorGaveUp, supervision.SupervisorEscalated,
		supervision.OperatorCommand, supervision.NodeStopping, supervision.NodeReloaded, supervision.NodeReloadFailed:
		return true
	case supervision.ServiceReady, supervision.ServiceHealthy, supervision.ServiceCompleted:
		return !s.starting || !s.d.app.err.tty
	case supervision.ServiceStopped:
		return !s.halting || !s.d.app.err.tty
	}
	return false
}

// print prints lines of services.
func (s *show) print(batch []logstore.Entry) {
	if s.hushed {
		return
	}
	s.live.erase()
	var out strings.Builder
	for _, e := range batch {
		out.WriteString(s.lines.line(actors.LineOf(e)))
	}
	s.d.app.out.printf("%s", out.String())
	if now := time.Now(); now.Sub(s.missing) >= missingTime {
		s.missing = now
		s.tellMissing()
	}
}

// tellMissing says how many lines were not shown since that was last said.
func (s *show) tellMissing() {
	if lost := s.logs.Lost(); lost > 0 && !s.hushed {
		s.d.app.out.printf("%s\n", s.d.app.out.paint(styleWorking, fmt.Sprintf("%s not shown; the log has them", plural(lost, "line"))))
	}
}

// draw draws the live lines: what starts, or what a stop waits for.
func (s *show) draw() {
	tty := s.d.app.err.tty
	switch {
	case s.hushed:
	case s.halting:
		waiting := s.timing.stopping(s.d.app.now())
		if len(waiting) == 0 {
			return
		}
		line := "waiting for " + strings.Join(waiting, ", ")
		if tty {
			s.live.draw([]string{s.d.app.err.paint(styleDim, line+"  (again to kill)")})
		} else if now := s.d.app.now(); !now.Before(s.remind) {
			s.remind = now.Add(reminder)
			s.d.app.err.printf("%s\n", line)
		}
	case s.starting && tty:
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		services, err := s.d.node.Status(ctx)
		if err == nil {
			s.live.draw(s.startLines(services))
		}
	}
}

// startLines are the live lines while starting: one a service.
func (s *show) startLines(services []*bhnodev1.Service) []string {
	var rows [][]cell
	ready := 0
	for _, svc := range services {
		if !svc.GetWanted() {
			continue
		}
		if good(svc) {
			ready++
		}
		took := s.timing.took(svc.GetName(), s.d.app.now())
		rows = append(rows, []cell{
			{"  " + s.d.app.err.symbol(svc.GetState()), looks[svc.GetState()].style},
			plain(svc.GetName()),
			plain(stateWord(svc.GetState())), plain(took),
			{detailText(s.d.app.now(), svc), styleDim},
		})
	}
	lines := s.d.app.err.columns(rows)
	return append(lines, s.d.app.err.paint(styleDim, fmt.Sprintf("[%d/%d healthy]  %s  Ctrl-C stops all, again to kill",
		ready, len(rows), span(s.d.app.now().Sub(s.timing.begun)))))
}

// booted is told when the start is over. Where all went well, the journal says so
// in its place among the events.
func (s *show) booted(b supervision.Booted) {
	if len(b.Failed) == 0 {
		return
	}
	names := make([]string, len(b.Failed))
	for i, id := range b.Failed {
		names[i] = string(id)
	}
	s.tell <- func() {
		s.started(fmt.Sprintf("%d of %s came up; not healthy so far: %s", len(s.names)-len(b.Failed), plural(len(s.names), "service"), strings.Join(names, ", ")))
	}
}

// started ends the live lines of the start with a summary.
func (s *show) started(summary string) {
	s.live.erase()
	s.starting = false
	s.d.app.err.printf("%s\n", summary)
	if s.d.detached {
		s.hushed = true
		s.d.node.UnfollowLogs(s.names, s.logs)
	}
}

// stopping says that a stop has begun.
func (s *show) stopping(sig os.Signal, again bool) {
	name := sig.String()
	if n, ok := sig.(syscall.Signal); ok {
		name = signalName(n)
	}
	s.tell <- func() {
		s.live.erase()
		s.starting, s.halting = false, true
		s.remind = s.d.app.now().Add(lull)
		if again {
			s.timing.killing = true
			s.d.app.err.printf("%s again: killing what is left\n", name)
			return
		}
		s.d.app.err.printf("%s: stopping in reverse order\n", name)
	}
	s.wake()
}

// wake has the goroutine look at what is live.
func (s *show) wake() { s.tell <- s.draw }

// end prints what is left to print.
func (s *show) end() {
	s.catchUp()
	close(s.quit)
	select {
	case <-s.over:
	case <-time.After(patience):
	}
	s.d.node.UnfollowEvents(s.events)
	s.d.node.UnfollowLogs(slices.Clone(s.names), s.logs)
}

// catchUp returns when all that was said so far has been handed to the followers.
func (s *show) catchUp() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := s.d.node.FollowEvents(ctx, nil)
	if err == nil {
		_, err = s.d.node.FollowLogs(ctx, s.names, nil)
	}
	if err != nil {
		s.d.log.Warn().Err(err).Msg("the last lines may not have been shown")
	}
}
