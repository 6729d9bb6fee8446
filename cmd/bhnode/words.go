package main

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// word is an enum value as the contract writes it, "" when it is not given.
func word(value fmt.Stringer, prefix string) string {
	w := strings.ToLower(strings.TrimPrefix(value.String(), prefix))
	if w == "unspecified" {
		return ""
	}
	return w
}

func stateWord(s bhnodev1.ServiceState) string { return word(s, "SERVICE_STATE_") }
func healthWord(h bhnodev1.Health) string      { return word(h, "HEALTH_") }
func reasonWord(r bhnodev1.Reason) string      { return word(r, "REASON_") }
func kindWord(k bhnodev1.NodeKind) string      { return word(k, "NODE_KIND_") }

// reasonText is a reason for people.
func reasonText(r bhnodev1.Reason) string {
	if r == bhnodev1.Reason_REASON_OOM {
		return "out of memory"
	}
	return strings.ReplaceAll(reasonWord(r), "_", " ")
}

// moving are the states of a service that is on its way to another.
var moving = []bhnodev1.ServiceState{
	bhnodev1.ServiceState_SERVICE_STATE_STARTING, bhnodev1.ServiceState_SERVICE_STATE_STOPPING,
	bhnodev1.ServiceState_SERVICE_STATE_BACKOFF, bhnodev1.ServiceState_SERVICE_STATE_STUCK,
}

// look is how a state shows besides its word.
type look struct {
	utf8, ascii string
	style       style
}

var looks = map[bhnodev1.ServiceState]look{
	bhnodev1.ServiceState_SERVICE_STATE_DISABLED:  {"-", "[-]", styleDim},
	bhnodev1.ServiceState_SERVICE_STATE_STOPPED:   {"○", "[ ]", styleDim},
	bhnodev1.ServiceState_SERVICE_STATE_WAITING:   {"◌", "[.]", styleWorking},
	bhnodev1.ServiceState_SERVICE_STATE_STARTING:  {"◐", "[>]", styleWorking},
	bhnodev1.ServiceState_SERVICE_STATE_RUNNING:   {"●", "[*]", styleGood},
	bhnodev1.ServiceState_SERVICE_STATE_UNHEALTHY: {"▲", "[!]", styleBad},
	bhnodev1.ServiceState_SERVICE_STATE_STOPPING:  {"◑", "[<]", styleWorking},
	bhnodev1.ServiceState_SERVICE_STATE_STUCK:     {"■", "[#]", styleBad},
	bhnodev1.ServiceState_SERVICE_STATE_BACKOFF:   {"↻", "[~]", styleWorking},
	bhnodev1.ServiceState_SERVICE_STATE_COMPLETED: {"✔", "[+]", styleGood},
	bhnodev1.ServiceState_SERVICE_STATE_FAILED:    {"✗", "[x]", styleBad},
}

// symbol is the sign of a state, as the stream can show it.
func (s *screen) symbol(state bhnodev1.ServiceState) string {
	l, ok := looks[state]
	if !ok {
		return "?"
	}
	return s.pick(l.utf8, l.ascii)
}

// state is the field of a state: sign and word.
func (s *screen) state(state bhnodev1.ServiceState) cell {
	return cell{s.symbol(state) + " " + cmp.Or(stateWord(state), "unknown"), looks[state].style}
}

// health is the field of a health.
func (s *screen) health(h bhnodev1.Health) cell {
	c := orDash(healthWord(h))
	switch h {
	case bhnodev1.Health_HEALTH_HEALTHY:
		c.style = styleGood
	case bhnodev1.Health_HEALTH_UNHEALTHY:
		c.style = styleBad
	case bhnodev1.Health_HEALTH_UNSPECIFIED, bhnodev1.Health_HEALTH_UNKNOWN, bhnodev1.Health_HEALTH_DOWN:
		c.style = styleDim
	}
	return c
}

// span writes a duration in its two greatest units: 3s, 4m10s, 2h5m, 12d3h;
// below ten seconds with a tenth, below one in milliseconds.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.Replace(fmt.Sprintf("%.1fs", math.Floor(d.Seconds()*10)/10), ".0s", "s", 1)
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < 24*time.Hour:
		return two(d, time.Hour, "h", time.Minute, "m")
	default:
		return two(d, 24*time.Hour, "d", time.Hour, "h")
	}
}

func two(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	if rest := d % big / small; rest > 0 {
		return fmt.Sprintf("%d%s%d%s", d/big, bigName, rest, smallName)
	}
	return fmt.Sprintf("%d%s", d/big, bigName)
}

// ago is the time since t in words, "" when t is not given.
func ago(now time.Time, t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return span(now.Sub(t.AsTime())) + " ago"
}

// clock is the time of day of t; with the date when it is not today.
func clock(now, t time.Time, layout string) string {
	t = t.Local()
	if y, m, d := now.Local().Date(); t.Year() != y || t.Month() != m || t.Day() != d {
		layout = time.DateOnly + " " + layout
	}
	return t.Format(layout)
}

func spanOf(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return span(d.AsDuration())
}

// size writes bytes in binary units with at most one decimal: 38M, 1.5G.
func size(bytes uint64) string {
	value, unit := float64(bytes), ""
	for _, next := range []string{"K", "M", "G", "T", "P", "E"} {
		if value < 1023.5 {
			break
		}
		value, unit = value/1024, next
	}
	if value < 10 && unit != "" {
		return strings.Replace(fmt.Sprintf("%.1f%s", value, unit), ".0", "", 1)
	}
	return fmt.Sprintf("%.0f%s", value, unit)
}

// plural is n and a noun.
func plural[N int | uint32 | int32 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
