package main

import (
	"context"
	"strings"
	"time"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// What the lower pane shows of the row that is selected.
const (
	paneLog    = "log"
	paneEvents = "events"
)

const (
	// paneLines is how many lines are kept, and asked for at first.
	paneLines = 200
	// paneTime is how often at most new ones are shown.
	paneTime = 100 * time.Millisecond
)

// topPane is the lower part of the screen.
type topPane struct {
	what       string // paneLog or paneEvents, "": the former
	large      bool
	of         string // whose
	generation int
	lines      []string
	cancel     context.CancelFunc
}

func (p *topPane) show(what string) { p.what = what }

func (p *topPane) close() {
	if p.cancel != nil {
		p.cancel()
	}
}

// add takes lines, unless they are of what was shown before.
func (p *topPane) add(m topLines) {
	if m.generation != p.generation {
		return
	}
	p.lines = append(p.lines, m.lines...)
	p.lines = p.lines[max(0, len(p.lines)-paneLines):]
}

// follow has the pane show the row that is selected. A supervisor prints nothing: what
// happened to it stands in place of a log.
func (m *topModel) follow() {
	p := &m.pane
	if p.what == "" {
		p.what = paneLog
	}
	what, of := p.what, p.what+" of "+m.selected
	if what == paneLog && m.isSupervisor(m.selected) {
		what, of = paneEvents, paneEvents+" of "+m.selected+": a supervisor has no log"
	}
	if of == p.of || m.selected == "" {
		return
	}
	p.close()
	p.of, p.lines = of, nil
	p.generation++
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(m.ctx)
	fresh := make(chan string, 2*paneLines)
	go m.pour(ctx, p.generation, fresh)
	if what == paneEvents {
		go m.followEvents(ctx, m.selected, fresh)
	} else {
		go m.followLog(ctx, m.selected, fresh)
	}
}

// pour hands lines over, many at once: a flood must not drown the keys.
func (m *topModel) pour(ctx context.Context, generation int, fresh <-chan string) {
	var gathered []string
	tick := time.NewTicker(paneTime)
	defer tick.Stop()
	for {
		select {
		case line := <-fresh:
			gathered = append(gathered, line)
			if len(gathered) > 2*paneLines {
				gathered = append([]string(nil), gathered[len(gathered)-paneLines:]...)
			}
		case <-tick.C:
			if len(gathered) > 0 && m.tell(topLines{generation, gathered}) {
				gathered = nil
			}
		case <-ctx.Done():
			return
		}
	}
}

func (m *topModel) followLog(ctx context.Context, service string, to chan<- string) {
	p := newLogPrinter(m.app.out, m.app.now)
	shown := shownLines{}
	tail := uint32(paneLines)
	req := &bhnodev1.StreamLogsRequest{Services: []string{service}, Follow: true, Tail: &tail}
	m.again(ctx, to, func() error {
		stream, err := m.node.StreamLogs(ctx, req)
		if err != nil {
			return err
		}
		return each(ctx, stream.Recv, func(batch *bhnodev1.StreamLogsResponse) error {
			for _, e := range batch.GetEntries() {
				if shown.note(e) {
					req.Tail, req.Since = nil, e.GetTime()
					if line := p.line(e); line != "" {
						send(ctx, to, line)
					}
				}
			}
			return nil
		})
	})
}

func (m *topModel) followEvents(ctx context.Context, name string, to chan<- string) {
	p := &eventPrinter{screen: m.app.out, clock: m.app.now}
	tail := uint32(paneLines)
	req := &bhnodev1.StreamEventsRequest{Names: []string{name}, Follow: true, Tail: &tail}
	m.again(ctx, to, func() error {
		stream, err := m.node.StreamEvents(ctx, req)
		if err != nil {
			return err
		}
		return each(ctx, stream.Recv, func(batch *bhnodev1.StreamEventsResponse) error {
			for _, e := range batch.GetEvents() {
				req.Tail, req.After = nil, e.GetSeq()
				send(ctx, to, p.line(e))
			}
			return nil
		})
	})
}

// again follows anew when the node was away; what else goes wrong is told.
func (m *topModel) again(ctx context.Context, to chan<- string, follow func() error) {
	for ctx.Err() == nil {
		if err := follow(); err != nil && exitCode(rpcError(err)) != exitNoNode {
			send(ctx, to, m.app.out.paint(styleDim, safeText(rpcMessage(err))))
			return
		}
		select {
		case <-time.After(m.interval):
		case <-ctx.Done():
		}
	}
}

func send(ctx context.Context, to chan<- string, line string) {
	select {
	case to <- strings.TrimSuffix(line, "\n"):
	case <-ctx.Done():
	}
}
