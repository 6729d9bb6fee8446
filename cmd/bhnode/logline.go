package main

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"strings"
	"time"
	"unicode/utf8"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// logJSON is a line of `logs -o json`, the LogEntry of the log files.
type logJSON struct {
	Time       *string         `json:"time"`
	Service    string          `json:"service"`
	Stream     string          `json:"stream"`
	PID        int32           `json:"pid"`
	Seq        uint64          `json:"seq"`
	Message    *string         `json:"message,omitempty"`
	MessageB64 []byte          `json:"message_b64,omitempty"`
	Level      string          `json:"level,omitempty"`
	Fields     json.RawMessage `json:"fields,omitempty"`
	Partial    bool            `json:"partial,omitempty"`
}

func logToJSON(e *bhnodev1.LogEntry) logJSON {
	out := logJSON{
		Time:    timeOrNull(e.GetTime()),
		Service: e.GetService(),
		Stream:  e.GetStream(),
		PID:     e.GetPid(),
		Seq:     e.GetSeq(),
		Level:   e.GetLevel(),
		Partial: e.GetPartial(),
	}
	if utf8.Valid(e.GetMessage()) {
		text := string(e.GetMessage())
		out.Message = &text
	} else {
		out.MessageB64 = e.GetMessage()
	}
	if json.Valid(e.GetFields()) {
		out.Fields = e.GetFields()
	}
	return out
}

// logPrinter writes lines of services for people: TIME service │ text.
type logPrinter struct {
	screen *screen
	now    func() time.Time
	width  int
	begun  map[string]bool // streams whose last line goes on, by service and name
}

func newLogPrinter(s *screen, now func() time.Time) *logPrinter {
	return &logPrinter{screen: s, now: now, begun: map[string]bool{}}
}

// know makes room for the name of a service.
func (p *logPrinter) know(service string) { p.width = max(p.width, len(service)) }

// serviceStyles are the colours of services; red is left to what is wrong.
var serviceStyles = [...]style{"36", "33", "35", "34", "32", "96", "93", "95", "94", "92"}

func serviceStyle(service string) style {
	h := fnv.New32a()
	_, _ = h.Write([]byte(service))
	return serviceStyles[h.Sum32()%uint32(len(serviceStyles))]
}

// line is the text of one entry, with its newline; "" for one that only ends a line of which
// all was shown.
func (p *logPrinter) line(e *bhnodev1.LogEntry) string {
	stream := e.GetService() + " " + e.GetStream()
	if !e.GetPartial() && len(e.GetMessage()) == 0 && p.begun[stream] {
		delete(p.begun, stream)
		return ""
	}
	if e.GetPartial() {
		p.begun[stream] = true
	} else {
		delete(p.begun, stream)
	}
	name := safeText(e.GetService())
	p.know(name)
	var out strings.Builder
	out.WriteString(p.screen.paint(styleDim, clock(p.now(), e.GetTime().AsTime(), "15:04:05.000")))
	out.WriteByte(' ')
	bar := strings.Repeat(" ", p.width-len(name)+1) + p.screen.pick("│", "|")
	out.WriteString(p.screen.paint(serviceStyle(e.GetService()), name+bar))
	out.WriteByte(' ')
	if level := e.GetLevel(); level != "" {
		out.WriteString(p.screen.paint(levelStyle(level), safeText(strings.ToUpper(level))))
		out.WriteByte(' ')
	}
	ascii := p.screen.tty && !p.screen.utf8
	out.WriteString(cleanText(string(e.GetMessage()), ascii))
	if fields := fieldText(e.GetFields()); fields != "" {
		out.WriteString(p.screen.paint(styleDim, " "+cleanText(fields, ascii)))
	}
	out.WriteByte('\n')
	return out.String()
}

func levelStyle(level string) style {
	switch strings.ToLower(level) {
	case "error", "err", "fatal", "panic", "critical":
		return styleBad
	case "warn", "warning":
		return styleWorking
	case "info", "notice":
		return styleNone
	default:
		return styleDim
	}
}

// fieldText writes the other fields of a JSON line as key=value, in their order.
func fieldText(fields []byte) string {
	dec := json.NewDecoder(bytes.NewReader(fields))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return ""
	}
	var parts []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return ""
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return ""
		}
		name, _ := key.(string)
		if name != "time" && name != "ts" && name != "timestamp" { // the entry has a time
			parts = append(parts, name+"="+valueText(value))
		}
	}
	return strings.Join(parts, " ")
}

// valueText is a JSON value; a string of one word loses its quotes.
func valueText(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil && s != "" && !strings.ContainsAny(s, " \t\r\n\"=") {
		return s
	}
	return string(value)
}
