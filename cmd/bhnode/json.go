package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// statusJSON is `status -o json`. In this file a nil pointer is an unknown
// value and written as null; no key is ever left out.
type statusJSON struct {
	Node     *string       `json:"node"`
	Services []serviceJSON `json:"services"`
}

type serviceJSON struct {
	Name         string           `json:"name"`
	State        *string          `json:"state"`
	Health       *string          `json:"health"`
	Wanted       bool             `json:"wanted"`
	Held         bool             `json:"held"`
	PID          *int32           `json:"pid"`
	Incarnation  uint64           `json:"incarnation"`
	Supervisor   *string          `json:"supervisor"`
	Restarts     uint64           `json:"restarts"`
	Exit         exitJSON         `json:"exit"`
	StartedAt    *string          `json:"started_at"`
	Uptime       *float64         `json:"uptime_seconds"`
	HealthDetail healthDetailJSON `json:"health_detail"`
	CPUPercent   *float64         `json:"cpu_percent"`
	MemoryRSS    *uint64          `json:"memory_rss_bytes"`
	MemoryVMS    *uint64          `json:"memory_vms_bytes"`
	Threads      *uint32          `json:"threads"`
	OpenFiles    *uint32          `json:"open_files"`
	Connections  *uint32          `json:"connections"`
	IORead       *uint64          `json:"io_read_bytes"`
	IOWrite      *uint64          `json:"io_write_bytes"`
	UnixSocket   *string          `json:"unix_socket"`
	TCPPort      *int32           `json:"tcp_port"`
	DependsOn    []string         `json:"depends_on"`
	Reason       *string          `json:"reason"`
	Message      *string          `json:"message"`
	Limits       []limitJSON      `json:"limits,omitempty"` // of a service that is named
	Counters     *countersJSON    `json:"counters,omitempty"`
}

type countersJSON struct {
	OOMKills         uint64   `json:"oom_kills"`
	ThrottledPeriods uint64   `json:"throttled_periods"`
	Throttled        *float64 `json:"throttled_seconds"`
	ForksRefused     uint64   `json:"forks_refused"`
}

type limitJSON struct {
	Name       string  `json:"name"`
	Value      string  `json:"value"`
	EnforcedBy *string `json:"enforced_by"`
	Why        *string `json:"why"`
	Help       *string `json:"help"`
}

type exitJSON struct {
	Code      *int32  `json:"code"`
	Signal    *string `json:"signal"`
	OOMKilled *bool   `json:"oom_killed"`
	Time      *string `json:"time"`
}

type healthDetailJSON struct {
	LastCheck *string  `json:"last_check"`
	LastError *string  `json:"last_error"`
	Latency   *float64 `json:"latency_seconds"`
	Failures  *int32   `json:"failures"`
}

// treeJSON is `tree -o json`.
type treeJSON struct {
	Name        string     `json:"name"`
	Kind        *string    `json:"kind"`
	Strategy    *string    `json:"strategy"`
	Order       *string    `json:"order"`
	State       *string    `json:"state"`
	Health      *string    `json:"health"`
	PID         *int32     `json:"pid"`
	Incarnation uint64     `json:"incarnation"`
	Restarts    uint64     `json:"restarts"`
	Uptime      *float64   `json:"uptime_seconds"`
	Actor       *string    `json:"actor"`
	Children    []treeJSON `json:"children"`
}

// printJSON writes one value over several lines.
func printJSON(w io.Writer, value any) error { return encodeJSON(w, value, "  ") }

// printLine writes one value of a stream, on a line of its own.
func printLine(w io.Writer, value any) error { return encodeJSON(w, value, "") }

func encodeJSON(w io.Writer, value any, indent string) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(escapeControls(text.Bytes()))
	return err
}

// escapeControls writes DEL and the C1 controls, which some terminals obey, as
// JSON escapes; encoding/json leaves them as they are.
func escapeControls(text []byte) []byte {
	control := func(i int) bool {
		return text[i] == 0x7f || text[i] == 0xc2 && i+1 < len(text) && text[i+1] >= 0x80 && text[i+1] < 0xa0
	}
	var out []byte
	from := 0
	for i := range text {
		if !control(i) {
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		out = fmt.Appendf(append(out, text[from:i]...), `\u%04x`, r)
		from = i + n
	}
	if out == nil {
		return text
	}
	return append(out, text[from:]...)
}

func statusToJSON(node string, services []*bhnodev1.Service) statusJSON {
	out := statusJSON{Node: orNull(node), Services: make([]serviceJSON, len(services))}
	for i, s := range services {
		out.Services[i] = serviceToJSON(s)
	}
	return out
}

func serviceToJSON(s *bhnodev1.Service) serviceJSON {
	return serviceJSON{
		Name:         s.GetName(),
		State:        orNull(stateWord(s.GetState())),
		Health:       orNull(healthWord(s.GetHealth())),
		Wanted:       s.GetWanted(),
		Held:         s.GetHeld(),
		PID:          s.Pid,
		Incarnation:  s.GetIncarnation(),
		Supervisor:   orNull(s.GetSupervisor()),
		Restarts:     s.GetRestarts(),
		Exit:         exitToJSON(s.GetExit()),
		StartedAt:    timeOrNull(s.GetStartedAt()),
		Uptime:       secondsOrNull(s.GetUptime()),
		HealthDetail: healthToJSON(s.GetHealthDetail()),
		CPUPercent:   s.CpuPercent,
		MemoryRSS:    s.MemoryRssBytes,
		MemoryVMS:    s.MemoryVmsBytes,
		Threads:      s.Threads,
		OpenFiles:    s.OpenFiles,
		Connections:  s.Connections,
		IORead:       s.IoReadBytes,
		IOWrite:      s.IoWriteBytes,
		UnixSocket:   orNull(s.GetUnixSocket()),
		TCPPort:      orNull(s.GetTcpPort()),
		DependsOn:    append([]string{}, s.GetDependsOn()...),
		Reason:       orNull(reasonWord(s.GetReason())),
		Message:      orNull(s.GetMessage()),
		Limits:       limitsToJSON(s.GetLimits()),
		Counters:     countersToJSON(s.GetCounters()),
	}
}

func countersToJSON(c *bhnodev1.Counters) *countersJSON {
	if c == nil {
		return nil
	}
	return &countersJSON{c.GetOomKills(), c.GetThrottledPeriods(), secondsOrNull(c.GetThrottled()), c.GetForksRefused()}
}

func limitsToJSON(limits []*bhnodev1.Limit) (out []limitJSON) {
	for _, l := range limits {
		out = append(out, limitJSON{l.GetName(), l.GetValue(), orNull(l.GetEnforcedBy()), orNull(l.GetWhy()), orNull(l.GetHelp())})
	}
	return out
}

func exitToJSON(e *bhnodev1.Exit) exitJSON {
	if e == nil {
		return exitJSON{}
	}
	oom := e.GetOomKilled()
	return exitJSON{Code: e.Code, Signal: e.Signal, OOMKilled: &oom, Time: timeOrNull(e.GetTime())}
}

func healthToJSON(h *bhnodev1.HealthDetail) healthDetailJSON {
	if h == nil {
		return healthDetailJSON{}
	}
	failures := h.GetFailures()
	return healthDetailJSON{
		LastCheck: timeOrNull(h.GetLastCheck()),
		LastError: h.LastError,
		Latency:   secondsOrNull(h.GetLatency()),
		Failures:  &failures,
	}
}

func treeToJSON(n *bhnodev1.TreeNode) treeJSON {
	out := treeJSON{
		Name:        n.GetName(),
		Kind:        orNull(kindWord(n.GetKind())),
		Strategy:    orNull(n.GetStrategy()),
		Order:       orNull(n.GetOrder()),
		State:       orNull(stateWord(n.GetState())),
		Health:      orNull(healthWord(n.GetHealth())),
		PID:         n.Pid,
		Incarnation: n.GetIncarnation(),
		Restarts:    n.GetRestarts(),
		Uptime:      secondsOrNull(n.GetUptime()),
		Actor:       orNull(n.GetActor()),
		Children:    make([]treeJSON, len(n.GetChildren())),
	}
	for i, c := range n.GetChildren() {
		out.Children[i] = treeToJSON(c)
	}
	return out
}

// orNull is nil for the zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func timeOrNull(t *timestamppb.Timestamp) *string {
	if t == nil {
		return nil
	}
	s := t.AsTime().Format(time.RFC3339Nano)
	return &s
}

func secondsOrNull(d *durationpb.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := d.AsDuration().Seconds()
	return &s
}
