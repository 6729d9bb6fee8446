package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// topView draws one picture.
type topView struct {
	screen *screen
	width  int // 0: unlimited
	now    time.Time
	at     *bhnodev1.WatchStatusResponse
	use    *useHistory

	sortBy   string // of topSorts
	filter   string
	selected string
}

// topSorts are the orders of the rows: grouped by supervisor, or by what stands here, the
// greatest first.
var topSorts = []string{"tree", "cpu", "memory", "restarts", "io", "name"}

// topRow is a service, or a supervisor above others.
type topRow struct {
	node    *bhnodev1.TreeNode
	service *bhnodev1.Service // nil: a supervisor
	depth   int
}

// rows are those that the filter lets through, in their order.
func (v *topView) rows() []topRow {
	byName := map[string]*bhnodev1.Service{}
	for _, s := range v.at.GetStatus().GetServices() {
		byName[s.GetName()] = s
	}
	var rows []topRow
	v.collect(&rows, v.at.GetTree().GetRoot(), byName, 0)
	if v.sortBy == "tree" || v.sortBy == "" {
		return rows
	}
	rows = slices.DeleteFunc(rows, func(r topRow) bool { return r.service == nil })
	slices.SortStableFunc(rows, func(a, b topRow) int { return v.compare(a.service, b.service) })
	for i := range rows {
		rows[i].depth = 0
	}
	return rows
}

// collect adds a node and what is below it; a supervisor only with a service below it that
// the filter lets through.
func (v *topView) collect(rows *[]topRow, n *bhnodev1.TreeNode, byName map[string]*bhnodev1.Service, depth int) {
	if n == nil {
		return
	}
	if n.GetKind() == bhnodev1.NodeKind_NODE_KIND_SERVICE {
		if s := byName[n.GetName()]; s != nil && v.wanted(s) {
			*rows = append(*rows, topRow{n, s, depth})
		}
		return
	}
	*rows = append(*rows, topRow{n, nil, depth})
	above := len(*rows)
	for _, c := range n.GetChildren() {
		v.collect(rows, c, byName, depth+1)
	}
	if len(*rows) == above && v.filter != "" {
		*rows = (*rows)[:above-1]
	}
}

// wanted tells whether the filter is in what is known of a service by words.
func (v *topView) wanted(s *bhnodev1.Service) bool {
	in := func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(v.filter)) }
	return in(s.GetName()) || in(stateWord(s.GetState())) || in(s.GetSupervisor())
}

func (v *topView) compare(a, b *bhnodev1.Service) int {
	ra, rb := v.use.of(a.GetName()), v.use.of(b.GetName())
	by := 0
	switch v.sortBy {
	case "cpu":
		by = cmp.Compare(b.GetCpuPercent(), a.GetCpuPercent())
	case "memory":
		by = cmp.Compare(b.GetMemoryRssBytes(), a.GetMemoryRssBytes())
	case "restarts":
		by = cmp.Compare(b.GetRestarts(), a.GetRestarts())
	case "io":
		by = cmp.Compare(rb.read+rb.written, ra.read+ra.written)
	}
	return cmp.Or(by, cmp.Compare(a.GetName(), b.GetName()))
}

// topStates are the states that the header counts, the worst first: what comes last is cut
// first.
var topStates = []bhnodev1.ServiceState{
	bhnodev1.ServiceState_SERVICE_STATE_FAILED, bhnodev1.ServiceState_SERVICE_STATE_STUCK,
	bhnodev1.ServiceState_SERVICE_STATE_UNHEALTHY, bhnodev1.ServiceState_SERVICE_STATE_BACKOFF,
	bhnodev1.ServiceState_SERVICE_STATE_WAITING, bhnodev1.ServiceState_SERVICE_STATE_STARTING,
	bhnodev1.ServiceState_SERVICE_STATE_STOPPING, bhnodev1.ServiceState_SERVICE_STATE_RUNNING,
	bhnodev1.ServiceState_SERVICE_STATE_COMPLETED, bhnodev1.ServiceState_SERVICE_STATE_STOPPED,
	bhnodev1.ServiceState_SERVICE_STATE_DISABLED,
}

// header is the node, its services by state, what they use together, and the machine.
func (v *topView) header() []string {
	st := v.at.GetStatus()
	counts := map[bhnodev1.ServiceState]int{}
	var cpu float64
	var memory uint64
	for _, s := range st.GetServices() {
		counts[s.GetState()]++
		cpu += s.GetCpuPercent()
		memory += s.GetMemoryRssBytes()
	}
	var states []string
	for _, state := range topStates {
		if n := counts[state]; n > 0 {
			text, style := fmt.Sprintf("%d %s", n, stateWord(state)), styleNone
			if looks[state].style == styleBad {
				style = styleBad
			}
			states = append(states, v.screen.paint(style, text))
		}
	}
	m := v.at.GetMachine()
	first := fmt.Sprintf("  cpu %.0f%%  memory %s  %s: %s", cpu, size(memory), plural(len(st.GetServices()), "service"), strings.Join(states, ", "))
	second := fmt.Sprintf("machine  load %.1f of %d  memory %s of %s", m.GetLoad(), m.GetProcessors(),
		size(m.GetMemoryBytes()-min(m.GetMemoryAvailableBytes(), m.GetMemoryBytes())), size(m.GetMemoryBytes()))
	if m.CpuPressure != nil {
		second += fmt.Sprintf("  pressure cpu %.0f%% memory %.0f%% io %.0f%%", m.GetCpuPressure(), m.GetMemoryPressure(), m.GetIoPressure())
	}
	name := safeText(st.GetNode())
	if v.width > 0 { // a long name must not push out what is wrong
		name = ansi.Truncate(name, max(v.width-ansi.StringWidth(first), v.width/5), v.screen.pick("…", "~"))
	}
	return []string{v.fit(v.screen.paint(styleBold, name) + first), v.fit(second)}
}

func (v *topView) fit(line string) string {
	if v.width <= 0 {
		return line
	}
	return ansi.Truncate(line, v.width, v.screen.pick("…", "~"))
}

// once is a whole picture for a stream.
func (v *topView) once() []string {
	lines := append(v.header(), "")
	return append(lines, v.table(v.rows())...)
}

// table draws rows under their heading. A column is there if the width allows it.
func (v *topView) table(rows []topRow) []string {
	cells := make([][]cell, len(rows)+1)
	columns := v.columns()
	cells[0] = []cell{{"  NAME", styleBold}}
	for _, c := range columns {
		cells[0] = append(cells[0], cell{c.title, styleBold})
	}
	for i, r := range rows {
		cells[i+1] = v.row(r, columns)
	}
	lines := v.align(cells, columns)
	for i, r := range rows {
		if v.selected != "" && r.node.GetName() == v.selected && v.screen.colour {
			lines[i+1] = "\x1b[7m" + ansi.Strip(lines[i+1]) + strings.Repeat(" ", max(0, v.width-ansi.StringWidth(lines[i+1]))) + "\x1b[0m"
		}
	}
	return lines
}

// align pads cells to columns; the first one has the room that is left.
func (v *topView) align(rows [][]cell, columns []topColumn) []string {
	taken := 0
	for _, c := range columns {
		taken += c.width + 1
	}
	name := 0
	for _, r := range rows {
		name = max(name, ansi.StringWidth(r[0].text))
	}
	if v.width > 0 {
		name = min(name, max(v.width-taken, 8))
	}
	lines := make([]string, len(rows))
	for i, r := range rows {
		var b strings.Builder
		text := ansi.Truncate(r[0].text, name, v.screen.pick("…", "~"))
		b.WriteString(v.screen.paint(r[0].style, text) + strings.Repeat(" ", name-ansi.StringWidth(text)))
		for n, c := range r[1:] {
			text := ansi.Truncate(c.text, columns[n].width, v.screen.pick("…", "~"))
			pad := strings.Repeat(" ", columns[n].width-ansi.StringWidth(text))
			b.WriteByte(' ')
			if columns[n].right {
				b.WriteString(pad + v.screen.paint(c.style, text))
			} else {
				b.WriteString(v.screen.paint(c.style, text) + pad)
			}
		}
		lines[i] = v.fit(strings.TrimRight(b.String(), " "))
	}
	return lines
}

func (v *topView) row(r topRow, columns []topColumn) []cell {
	mark := "  "
	if r.node.GetName() == v.selected {
		mark = v.screen.pick("▸ ", "> ")
	}
	name := cell{mark + strings.Repeat("  ", r.depth) + safeText(r.node.GetName()), styleNone}
	if r.service == nil {
		name.style = styleDim
	}
	out := []cell{name}
	for _, c := range columns {
		if r.service == nil {
			out = append(out, c.ofSupervisor(v, r.node))
		} else {
			out = append(out, c.of(v, r.service))
		}
	}
	return out
}
