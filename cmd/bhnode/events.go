package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// eventJSON is a line of `events -o json`; of service and supervisor there is at
// most one.
type eventJSON struct {
	Seq         uint64         `json:"seq"`
	Time        *string        `json:"time"`
	Type        string         `json:"type"`
	Service     string         `json:"service,omitempty"`
	Supervisor  string         `json:"supervisor,omitempty"`
	Incarnation *uint64        `json:"incarnation"`
	PID         *int32         `json:"pid"`
	Cause       *uint64        `json:"cause"`
	Message     string         `json:"message"`
	Attrs       map[string]any `json:"attrs"`
}

func eventToJSON(e *bhnodev1.Event) eventJSON {
	attrs := e.GetAttrs().AsMap()
	if attrs == nil {
		attrs = map[string]any{}
	}
	return eventJSON{
		Seq:         e.GetSeq(),
		Time:        timeOrNull(e.GetTime()),
		Type:        e.GetType(),
		Service:     e.GetService(),
		Supervisor:  e.GetSupervisor(),
		Incarnation: orNull(e.GetIncarnation()),
		PID:         orNull(e.GetPid()),
		Cause:       orNull(e.GetCause()),
		Message:     e.GetMessage(),
		Attrs:       attrs,
	}
}

func newEventsCommand(a *app) *cobra.Command {
	var p past
	cmd := &cobra.Command{
		Use:   "events [NAME]",
		Short: "Shows what happened, and what made it happen",
		Long: `Shows the journal of the node: what happened, to whom, and with an arrow the
number of the event that made it happen.`,
		Example: `  bhnode events -n 20        # the last twenty
  bhnode events -f ledger    # one service, from now on
  bhnode events --since 1h -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeNames(1, services|supervisors),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &bhnodev1.StreamEventsRequest{Names: args, Follow: p.follow}
			var err error
			if req.Tail, req.Since, err = p.resolve(cmd, a.now()); err != nil {
				return err
			}
			p := &eventPrinter{screen: a.out, clock: a.now}
			return a.stay(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				if len(args) > 0 {
					if err := heardOf(ctx, node, args[0]); err != nil {
						return err
					}
				}
				return a.events(ctx, node, req, p)
			})
		},
	}
	p.flags(cmd, "events")
	return cmd
}

// heardOf returns an error where nobody is called so, nor ever was: a service that a reload
// has taken away has events still.
func heardOf(ctx context.Context, node *client.Client, name string) error {
	last := uint32(1)
	past, err := getEvents(ctx, node, &bhnodev1.StreamEventsRequest{Names: []string{name}, Tail: &last})
	if err != nil || len(past) > 0 {
		return err
	}
	_, unknown := getStatus(ctx, node, name)
	if status.Code(unknown) != codes.NotFound {
		return unknown
	}
	tree, err := getTree(ctx, node)
	if err != nil {
		return err
	}
	if s, _ := findSupervisor(nil, tree.GetRoot(), name); s != nil {
		return nil
	}
	return unknown
}

func (a *app) events(ctx context.Context, node *client.Client, req *bhnodev1.StreamEventsRequest, p *eventPrinter) error {
	stream, err := node.StreamEvents(ctx, req)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(a.out, 64<<10)
	return each(ctx, stream.Recv, func(batch *bhnodev1.StreamEventsResponse) error {
		for _, e := range batch.GetEvents() {
			req.After, req.Tail, req.Since = e.GetSeq(), nil, nil // to go on from there
			if a.json() {
				if err := printLine(out, eventToJSON(e)); err != nil {
					return err
				}
				continue
			}
			_, _ = out.WriteString(p.line(e))
		}
		return out.Flush()
	})
}

// eventPrinter writes events for people: TIME NUMBER type who message ← cause.
type eventPrinter struct {
	screen *screen
	clock  func() time.Time
	who    int // the widest name so far
}

// eventTypeWidth holds "supervisor.restarting".
const eventTypeWidth = 21

func (p *eventPrinter) line(e *bhnodev1.Event) string {
	who := safeText(e.GetService() + e.GetSupervisor())
	p.who = max(p.who, len(who))
	kind := safeText(e.GetType())
	parts := []string{
		p.screen.paint(styleDim, clock(p.clock(), e.GetTime().AsTime(), "15:04:05.000")),
		fmt.Sprintf("%6d", e.GetSeq()),
		p.screen.paint(eventStyle(e.GetType()), fmt.Sprintf("%-*s", eventTypeWidth, kind)),
		fmt.Sprintf("%-*s", p.who, who),
	}
	if e.GetMessage() != "" {
		parts = append(parts, safeText(e.GetMessage()))
	}
	if e.GetCause() != 0 {
		parts = append(parts, p.screen.paint(styleDim, fmt.Sprintf("%s %d", p.screen.pick("←", "<-"), e.GetCause())))
	}
	return strings.TrimRight(strings.Join(parts, "  "), " ") + "\n"
}

// eventStyle is the colour of an event's type.
func eventStyle(kind string) style {
	_, what, _ := strings.Cut(kind, ".")
	switch what {
	case "failed", "unhealthy", "stuck", "gave_up", "escalated":
		return styleBad
	case "exited", "backoff", "restarting":
		return styleWorking
	case "ready", "healthy", "completed":
		return styleGood
	default:
		return styleNone
	}
}
