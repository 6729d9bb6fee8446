package main

import (
	"bufio"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// followTail is how much of the past a follower sees who does not say.
const followTail = 10

// past is how much of what is kept a stream of logs or events begins with.
type past struct {
	follow bool
	tail   int
	since  string
}

func (p *past) flags(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVarP(&p.follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().IntVarP(&p.tail, "tail", "n", -1, "only the last `N` "+what+" (default: all, with -f the last 10)")
	cmd.Flags().Lookup("tail").DefValue = "0" // which is not shown
	cmd.Flags().StringVar(&p.since, "since", "", "only from this `time` on: 10m, 14:30, 2006-01-02, RFC 3339")
}

// resolve returns the tail, nil for all, and since when.
func (p *past) resolve(cmd *cobra.Command, now time.Time) (tail *uint32, since *timestamppb.Timestamp, err error) {
	switch {
	case cmd.Flags().Changed("tail"):
		if p.tail < 0 {
			return nil, nil, usageError("0 shows nothing of the past", "-n %d: it is a number of lines", p.tail)
		}
		n := uint32(min(p.tail, 1<<31))
		tail = &n
	case p.follow && p.since == "":
		n := uint32(followTail)
		tail = &n
	}
	if p.since != "" {
		at, err := parseSince(p.since, now)
		if err != nil {
			return nil, nil, err
		}
		since = timestamppb.New(at)
	}
	return tail, since, nil
}

// parseSince takes a duration back from now, or a point in time; without a zone
// it is local, without a date it is today.
func parseSince(text string, now time.Time) (time.Time, error) {
	if d, err := parseSpan(text); err == nil {
		return now.Add(-d), nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			y, m, d := now.Local().Date()
			return time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.Local), nil
		}
	}
	return time.Time{}, usageError("for instance 10m, 2d, 14:30, 2006-01-02 or 2006-01-02T15:04:05Z", "%q is no time", text)
}

// parseSpan is time.ParseDuration with days, which come first: 2d, 1d12h.
func parseSpan(text string) (time.Duration, error) {
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, err
	}
	total := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	return total + d, err
}

func newLogsCommand(a *app) *cobra.Command {
	var p past
	var grep, stream, level string
	var raw bool
	cmd := &cobra.Command{
		Use:   "logs [NAME...]",
		Short: "Shows what services print, merged in time order",
		Long: `Shows what services print, merged in time order; of a supervisor that is what all
below it print. Colours are dropped and other control characters made visible;
-o json drops nothing, --raw prints the messages alone, byte for byte: a terminal obeys
what is in them. A line that is a JSON object is taken apart: its msg, or else its
message, is the message, and only -o json has the rest as it was, in level and fields.`,
		Example: `  bhnode logs -f             # all services, from now on
  bhnode logs ledger -n 100  # the last hundred lines of one
  bhnode logs --since 10m --grep 'error|panic' --stream stderr
  bhnode logs -f --level warn  # of services that log JSON: warnings and worse`,
		ValidArgsFunction: a.completeNames(0, services|supervisors),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &bhnodev1.StreamLogsRequest{Services: args, Follow: p.follow, Grep: grep, Stream: stream, Level: level}
			var err error
			if req.Tail, req.Since, err = p.resolve(cmd, a.now()); err != nil {
				return err
			}
			if _, err := regexp.Compile(grep); err != nil {
				return usageError("the syntax is that of RE2", "--grep: %v", err)
			}
			if stream != "" && stream != "stdout" && stream != "stderr" {
				return usageError("it is stdout or stderr", "unknown stream %q", stream)
			}
			if level != "" && !slices.Contains(logLevels, level) {
				return usageError("it is one of "+strings.Join(logLevels, ", "), "unknown level %q", level)
			}
			shown := shownLines{}
			return a.stay(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				names, err := meant(ctx, node, args)
				if err != nil {
					return err
				}
				req.Services = names
				return a.logs(ctx, node, req, shown, raw)
			})
		},
	}
	p.flags(cmd, "lines")
	cmd.Flags().StringVar(&grep, "grep", "", "only lines that match this `regexp`")
	cmd.Flags().StringVar(&stream, "stream", "", "only stdout or stderr")
	cmd.Flags().StringVar(&level, "level", "", "only lines of this level and above; those that tell none are left out")
	cmd.Flags().BoolVar(&raw, "raw", false, "the messages byte for byte, and nothing else; of a JSON object its msg")
	completeFixed(cmd, "stream", "stdout", "stderr")
	completeFixed(cmd, "level", logLevels...)
	return cmd
}

// logLevels are those that lines are told apart by, the least first.
var logLevels = []string{"trace", "debug", "info", "warn", "error", "fatal"}

// shownLines are the numbers of the last lines that were shown, by service.
type shownLines map[string]uint64

// note tells whether a line was not shown yet. Raw ones have no number.
func (s shownLines) note(entry *bhnodev1.LogEntry) bool {
	if seq := entry.GetSeq(); seq != 0 && seq <= s[entry.GetService()] {
		return false
	}
	s[entry.GetService()] = entry.GetSeq()
	return true
}

// logs shows lines; shown is the number of the last of each service, to go on from there.
func (a *app) logs(ctx context.Context, node *client.Client, req *bhnodev1.StreamLogsRequest, shown shownLines, raw bool) error {
	out := bufio.NewWriterSize(a.out, 64<<10)
	show, err := a.lineWriter(ctx, out, node, req, raw)
	if err != nil {
		return err
	}
	stream, err := node.StreamLogs(ctx, req)
	if err != nil {
		return err
	}
	err = each(ctx, stream.Recv, func(batch *bhnodev1.StreamLogsResponse) error {
		if n := batch.GetDropped(); n > 0 {
			a.err.printf("%s left out: they came faster than they could be shown\n", plural(n, "line"))
		}
		for _, entry := range batch.GetEntries() {
			if !shown.note(entry) {
				continue
			}
			req.Tail, req.Since = nil, entry.GetTime()
			if err := show(entry); err != nil {
				return err
			}
		}
		return out.Flush()
	})
	return err
}

// lineWriter returns what writes one line to out: raw, as JSON, or for the eye,
// with the names of the services, which are asked of the node, in one column.
func (a *app) lineWriter(ctx context.Context, out *bufio.Writer, node *client.Client, req *bhnodev1.StreamLogsRequest, raw bool) (func(*bhnodev1.LogEntry) error, error) {
	if raw {
		return func(entry *bhnodev1.LogEntry) error {
			_, _ = out.Write(entry.GetMessage())
			if !entry.GetPartial() {
				_ = out.WriteByte('\n')
			}
			return nil
		}, nil
	}
	if a.json() {
		return func(entry *bhnodev1.LogEntry) error { return printLine(out, logToJSON(entry)) }, nil
	}
	p := newLogPrinter(a.out, a.now)
	for _, name := range req.GetServices() {
		p.know(name)
	}
	if len(req.GetServices()) == 0 {
		st, err := getStatus(ctx, node)
		if err != nil {
			return nil, err
		}
		for _, s := range st.GetServices() {
			p.know(s.GetName())
		}
	}
	return func(entry *bhnodev1.LogEntry) error {
		_, _ = out.WriteString(p.line(entry))
		return nil
	}, nil
}
