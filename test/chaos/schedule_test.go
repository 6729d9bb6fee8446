package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// fault is one thing that is done to the node, wait after the one before.
type fault struct {
	wait time.Duration
	kind string
	who  []string // services, or supervisors for some commands
	n    int
	last time.Duration
}

func (f fault) String() string {
	text := fmt.Sprintf("+%-6v %s", f.wait.Round(time.Millisecond), f.kind)
	if len(f.who) > 0 {
		text += " " + strings.Join(f.who, " ")
	}
	if f.n > 0 {
		text += fmt.Sprintf(" %d", f.n)
	}
	if f.last > 0 {
		text += fmt.Sprintf(" for %v", f.last)
	}
	return text
}

// kinds are what may happen, by weight.
var kinds = []struct {
	weight int
	kind   string
}{
	{20, "kill"},
	{4, "kill-all-below"},
	{4, "kill-child"},
	{9, "freeze"},
	{6, "exit-0"},
	{12, "exit-1"},
	{7, "deaf"},
	{8, "ill"},
	{10, "fail-starts"},
	{3, "hang-start"},
	{3, "signal"},
	{6, "start"},
	{5, "stop"},
	{4, "stop-only"},
	{5, "restart"},
	{3, "restart-only"},
	{2, "start-below"},
	{1, "stop-below"},
	{2, "restart-below"},
	{3, "pause"},
	{4, "resume"},
	{1, "start-all"},
	{1, "freeze-bhnode"},
	{9, "kill-bhnode"},
	{3, "upgrade"},
	{3, "reload"},
}

// newSchedule draws the faults of a seed.
func newSchedule(r *rand.Rand, p *plan, n int) []fault {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	list := make([]fault, n)
	for i := range list {
		draw := r.IntN(total)
		for _, k := range kinds {
			if draw < k.weight {
				list[i] = newFault(r, p, k.kind)
				break
			}
			draw -= k.weight
		}
	}
	return list
}

func newFault(r *rand.Rand, p *plan, kind string) fault {
	f := fault{kind: kind, wait: time.Duration(r.IntN(8)) * time.Millisecond}
	if r.IntN(4) == 0 {
		f.wait = time.Duration(20+r.IntN(200)) * time.Millisecond
	}
	victim := p.services[r.IntN(len(p.services))].name
	nested := p.supervisors[1+r.IntN(len(p.supervisors)-1)].name
	switch kind {
	case "kill-all-below", "start-below", "stop-below", "restart-below", "pause", "resume":
		f.who = []string{nested}
	case "start-all", "upgrade":
	case "reload":
		f.n = 1 + r.IntN(9)
	case "freeze-bhnode":
		f.last = time.Duration(500+r.IntN(2500)) * time.Millisecond
	case "kill-bhnode":
		f.last = time.Duration(r.IntN(300)) * time.Millisecond
	case "freeze", "ill", "hang-start":
		f.who, f.last = []string{victim}, time.Duration(20+r.IntN(1500))*time.Millisecond
	case "fail-starts":
		f.who, f.n = []string{victim}, pick(r, 1, 2, 3, 6, 10, 20)
	case "start", "stop", "restart":
		f.who = []string{victim}
		if other := p.services[r.IntN(len(p.services))].name; other != victim && r.IntN(3) == 0 {
			f.who = append(f.who, other)
		}
	case "signal":
		f.who, f.n = []string{victim}, pick(r, 2, 9, 15)
	default:
		f.who = []string{victim}
	}
	return f
}
