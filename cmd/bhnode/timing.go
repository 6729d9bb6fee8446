package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/supervision"
)

// timing follows, from the events, since when each service is on its way.
type timing struct {
	begun time.Time // the node's start
	last  time.Time // the last service became healthy
	of    map[string]*times
	order []string
	// killing: a second signal has had all killed at once.
	killing bool
}

// times are the last start and stop of one service.
type times struct {
	needs    []string
	shutdown supervision.Shutdown
	starting time.Time
	ready    time.Time
	stopping time.Time
	halts    bool // is stopping
}

func newTiming(cfg *configs.Config) timing {
	t := timing{of: map[string]*times{}}
	shutdowns := map[supervision.ChildID]supervision.Shutdown{}
	gatherShutdowns(cfg.Tree, shutdowns)
	for i := range cfg.Services {
		s := &cfg.Services[i]
		t.of[s.Name] = &times{needs: s.DependsOn, shutdown: shutdowns[supervision.ChildID(s.Name)]}
		t.order = append(t.order, s.Name)
	}
	return t
}

func gatherShutdowns(s supervision.SupervisorSpec, into map[supervision.ChildID]supervision.Shutdown) {
	for _, c := range s.Children {
		into[c.ID] = c.Shutdown
		if c.Supervisor != nil {
			gatherShutdowns(*c.Supervisor, into)
		}
	}
}

func (t *timing) see(e journal.Record) {
	if e.Type == supervision.NodeStarting || e.Type == supervision.NodeAdopted {
		t.begun, t.last = e.Time, e.Time
	}
	s := t.of[e.Service]
	if s == nil {
		return
	}
	switch e.Type {
	case supervision.ServiceStarting, supervision.ServiceAdopted: // which may have to become ready anew
		s.starting, s.ready, s.halts = e.Time, time.Time{}, false
	case supervision.ServiceReady, supervision.ServiceCompleted:
		s.ready, t.last = e.Time, e.Time
	case supervision.ServiceStopping:
		s.stopping, s.halts = e.Time, true
	case supervision.ServiceStopped, supervision.ServiceExited, supervision.ServiceStuck:
		s.halts = false
	}
}

// took is how long a service needed to start, or has needed so far.
func (t *timing) took(name string, now time.Time) string {
	s := t.of[name]
	switch {
	case s == nil || s.starting.IsZero():
		return ""
	case s.ready.IsZero():
		return span(now.Sub(s.starting))
	}
	return span(s.ready.Sub(s.starting))
}

// stopping names what is ordered to stop, and how long that may take, or takes already.
func (t *timing) stopping(now time.Time) (out []string) {
	for _, name := range t.order {
		s := t.of[name]
		if !s.halts {
			continue
		}
		text := "for " + span(now.Sub(s.stopping))
		left := s.shutdown.Grace - now.Sub(s.stopping)
		switch timed := s.shutdown.Mode == supervision.Timed; {
		case t.killing, timed && left <= 0:
			text = "SIGKILL was sent"
		case timed:
			text = "SIGKILL in " + span((left + time.Second - 1).Truncate(time.Second))
		}
		out = append(out, name+" ("+text+")")
	}
	return out
}

// criticalPath is the chain of services that the start had to wait for, and the
// sum of their starts.
func (t *timing) criticalPath() (path []string, sum time.Duration) {
	name := latest(t.order, t.of)
	for name != "" {
		s := t.of[name]
		took := s.ready.Sub(s.starting)
		sum += took
		path = append(path, fmt.Sprintf("%s %s", name, span(took)))
		name = latest(s.needs, t.of)
	}
	slices.Reverse(path)
	return path, sum
}

// latest is the service that became ready last, "" if none did.
func latest(names []string, of map[string]*times) (last string) {
	for _, n := range names {
		if s := of[n]; s != nil && !s.ready.IsZero() && (last == "" || s.ready.After(of[last].ready)) {
			last = n
		}
	}
	return last
}

func (t *timing) summary(services int, arrow string) string {
	path, sum := t.criticalPath()
	all := "All " + plural(services, "service")
	if services == 1 {
		all = "The service is"
	}
	text := fmt.Sprintf("%s healthy after %s", all, span(t.last.Sub(t.begun)))
	if len(path) > 0 {
		text += fmt.Sprintf(" (critical path %s: %s)", span(sum), strings.Join(path, " "+arrow+" "))
	}
	return text
}
