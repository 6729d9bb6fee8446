package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blackhole/bhnode/proc"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// detail prints all that is known about one service; what is not known has no line.
func (a *app) detail(s *bhnodev1.Service, all []*bhnodev1.Service, i *bhnodev1.Isolation) {
	now := a.now()
	head := a.out.state(s.GetState())
	title := a.out.paint(head.style, a.out.symbol(s.GetState())) + " " + a.out.paint(styleBold, safeText(s.GetName()))
	if s.GetDescription() != "" {
		title += " - " + safeText(s.GetDescription())
	}
	a.out.printf("%s\n", a.out.fit(title))

	var rows [][]cell
	add := func(name, text string) {
		if text != "" {
			rows = append(rows, []cell{{}, {name + ":", styleDim}, plain(text)})
		}
	}
	add("State", stateLine(now, s))
	add("Reason", reasonLine(now, s))
	add("Health", healthLine(now, s))
	add("Process", processLine(s))
	add("Command", commandLine(s.GetCommand()))
	add("Listens", strings.Join(listens(s), ", "))
	add("Use", useLine(s))
	add("Held back", countersLine(s.GetCounters()))
	add("Needs", strings.Join(withStates(s.GetDependsOn(), all), ", "))
	add("Needed by", strings.Join(withStates(s.GetNeededBy(), all), ", "))
	add("Supervisor", s.GetSupervisor())
	add("Last exit", exitLine(now, s.GetExit()))
	if i.GetBackend() != "" {
		add("Held in", i.GetBackend()+": "+i.GetTracking())
	}
	for _, p := range i.GetProblems() {
		if !proc.IsLimit(p.GetWhat()) { // those are told with the limit
			add("Not held", "no "+p.GetWhat()+": "+p.GetWhy())
			add("What helps", p.GetHelp())
		}
	}
	label := "Limits:"
	for _, l := range s.GetLimits() {
		rows = append(rows, []cell{{}, {label, styleDim}, plain(limitLine(l))})
		label = ""
	}
	for _, line := range a.out.columns(rows) {
		a.out.printf("  %s\n", line)
	}
	if len(s.GetLastLines()) > 0 {
		a.out.printf("  %s\n", a.out.paint(styleDim, "Last lines:"))
		for _, line := range s.GetLastLines() {
			a.out.printf("    %s\n", safeText(line))
		}
	}
	a.advise(s)
}

// limitLine says what becomes of a limit: "memory_mb 64 (cgroup v2)".
func limitLine(l *bhnodev1.Limit) string {
	parts := []string{l.GetName() + " " + l.GetValue() + " is not enforced", l.GetWhy(), l.GetHelp()}
	if by := l.GetEnforcedBy(); by != "" {
		parts[0] = l.GetName() + " " + l.GetValue() + " (" + by + ")"
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ": ")
}

func stateLine(now time.Time, s *bhnodev1.Service) string {
	parts := []string{stateWord(s.GetState())}
	if t := s.GetStartedAt(); t != nil && s.Pid != nil {
		parts[0] += " since " + clock(now, t.AsTime(), time.TimeOnly)
		if s.GetUptime() != nil {
			parts[0] += " (" + span(s.GetUptime().AsDuration()) + ")"
		}
	}
	if s.GetIncarnation() > 0 {
		parts = append(parts, fmt.Sprintf("incarnation %d", s.GetIncarnation()))
	}
	if s.GetRestarts() > 0 {
		parts = append(parts, plural(s.GetRestarts(), "restart"))
	}
	switch {
	case s.GetHeld():
		parts = append(parts, "held by an operator")
	case !s.GetWanted():
		parts = append(parts, "not wanted")
	}
	return strings.Join(parts, ", ")
}

func reasonLine(now time.Time, s *bhnodev1.Service) string {
	reason, message := reasonText(s.GetReason()), s.GetMessage()
	switch {
	case message == "":
	case strings.Contains(message, reason):
		reason = message
	default:
		reason += ": " + message
	}
	if s.GetState() == bhnodev1.ServiceState_SERVICE_STATE_BACKOFF && s.GetNextStart() != nil {
		reason += ", next start in " + span(s.GetNextStart().AsTime().Sub(now))
	}
	return strings.TrimPrefix(reason, ", ")
}

func healthLine(now time.Time, s *bhnodev1.Service) string {
	parts := []string{healthWord(s.GetHealth())}
	d := s.GetHealthDetail()
	if when := ago(now, d.GetLastCheck()); when != "" {
		parts = append(parts, "checked "+when)
	}
	if d.GetLatency() != nil {
		parts = append(parts, "took "+latency(d.GetLatency().AsDuration()))
	}
	if n := d.GetFailures(); n > 0 {
		parts = append(parts, plural(n, "failure")+" in a row")
	}
	if d.GetLastError() != "" {
		parts = append(parts, "last error: "+d.GetLastError())
	}
	return strings.TrimPrefix(strings.Join(parts, ", "), ", ")
}

// latency writes the time of a check to a tenth of a millisecond.
func latency(d time.Duration) string {
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}

func processLine(s *bhnodev1.Service) string {
	if s.Pid == nil {
		return ""
	}
	text := fmt.Sprintf("pid %d", s.GetPid())
	if n := s.GetProcesses(); n > 1 {
		text += fmt.Sprintf(", %d processes in all", n)
	}
	if s.Threads != nil {
		text += ", " + plural(s.GetThreads(), "thread")
	}
	if s.OpenFiles != nil {
		text += ", " + plural(s.GetOpenFiles(), "open file")
	}
	if s.Connections != nil {
		text += ", " + plural(s.GetConnections(), "connection")
	}
	return text
}

// commandLine shows an argument vector as a shell would take it.
func commandLine(argv []string) string {
	quoted := make([]string, len(argv))
	for i, arg := range argv {
		quoted[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'\\$&|;<>()*?[]#~`!{}") {
			quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func listens(s *bhnodev1.Service) []string {
	var on []string
	if s.GetUnixSocket() != "" {
		on = append(on, "unix:"+s.GetUnixSocket())
	}
	if s.GetTcpPort() != 0 {
		on = append(on, fmt.Sprintf("port %d", s.GetTcpPort()))
	}
	return on
}

func useLine(s *bhnodev1.Service) string {
	var parts []string
	if s.CpuPercent != nil {
		parts = append(parts, "cpu "+cpuText(s))
		if s.CpuLimitPercent != nil {
			parts[0] += fmt.Sprintf(" of %d%%", s.GetCpuLimitPercent())
		}
	}
	if s.MemoryRssBytes != nil {
		text := "memory " + memoryText(s)
		if s.MemoryLimitBytes != nil {
			text += " of " + size(s.GetMemoryLimitBytes())
		}
		parts = append(parts, text)
	}
	if s.IoReadBytes != nil && s.IoWriteBytes != nil {
		parts = append(parts, "read "+size(s.GetIoReadBytes()), "written "+size(s.GetIoWriteBytes()))
	}
	return strings.Join(parts, ", ")
}

// countersLine says what limits have done; "" where they did nothing.
func countersLine(c *bhnodev1.Counters) string {
	var parts []string
	if n := c.GetThrottledPeriods(); n > 0 {
		parts = append(parts, "throttled for "+span(c.GetThrottled().AsDuration())+" in "+plural(n, "period"))
	}
	if n := c.GetForksRefused(); n > 0 {
		parts = append(parts, plural(n, "fork")+" refused")
	}
	if n := c.GetOomKills(); n > 0 {
		parts = append(parts, "killed for want of memory")
	}
	return strings.Join(parts, ", ")
}

func withStates(names []string, all []*bhnodev1.Service) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name
		for _, s := range all {
			if s.GetName() == name {
				out[i] += " " + stateWord(s.GetState())
			}
		}
	}
	return out
}

func exitLine(now time.Time, e *bhnodev1.Exit) string {
	if e == nil {
		return ""
	}
	var parts []string
	switch {
	case e.Signal != nil:
		parts = append(parts, e.GetSignal())
	case e.Code != nil:
		parts = append(parts, fmt.Sprintf("code %d", e.GetCode()))
	default:
		parts = append(parts, "unknown")
	}
	if e.GetOomKilled() {
		parts = append(parts, "out of memory")
	}
	if when := ago(now, e.GetTime()); when != "" {
		parts = append(parts, when)
	}
	return strings.Join(parts, ", ")
}

// advise ends the view of a service that is not well with the next command.
func (a *app) advise(s *bhnodev1.Service) {
	next := ""
	switch {
	case s.GetHeld():
		next = "bhnode start " + s.GetName()
	case looks[s.GetState()].style == styleBad, s.GetState() == bhnodev1.ServiceState_SERVICE_STATE_BACKOFF:
		next = fmt.Sprintf("bhnode events %[1]s, bhnode logs %[1]s", s.GetName())
	default:
		return
	}
	a.err.printf("%s\n", a.err.paint(styleDim, "Next: "+safeText(next)))
}
