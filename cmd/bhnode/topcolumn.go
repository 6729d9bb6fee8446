package main

import (
	"fmt"
	"slices"
	"strings"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// topColumn is one column of the table beside the name.
type topColumn struct {
	title string
	width int
	right bool
	least int // the width of the screen from which on it is shown
	of    func(v *topView, s *bhnodev1.Service) cell
	above func(v *topView, n *bhnodev1.TreeNode) cell // of a supervisor; nil: nothing
}

func (c topColumn) ofSupervisor(v *topView, n *bhnodev1.TreeNode) cell {
	if c.above == nil {
		return cell{}
	}
	return c.above(v, n)
}

// columns are those that the width allows.
func (v *topView) columns() []topColumn {
	return slices.DeleteFunc(slices.Clone(topColumns), func(c topColumn) bool { return v.width > 0 && v.width < c.least })
}

var topColumns = []topColumn{
	{title: "STATE", width: 13, of: func(v *topView, s *bhnodev1.Service) cell { return v.screen.state(s.GetState()) }, above: func(v *topView, n *bhnodev1.TreeNode) cell {
		if n.GetPaused() {
			return cell{"paused", styleWorking}
		}
		return cell{n.GetStrategy(), styleDim}
	}},
	{title: "CPU%", width: 6, right: true, of: cpuCell},
	{title: "", width: useKept, least: 132, of: func(v *topView, s *bhnodev1.Service) cell {
		return plain(v.spark(v.use.of(s.GetName()).cpu, float64(s.GetCpuLimitPercent())))
	}},
	{title: "MEMORY", width: 11, right: true, of: memoryCell},
	{title: "", width: 7, least: 132, of: func(v *topView, s *bhnodev1.Service) cell {
		if s.MemoryLimitBytes == nil {
			return cell{}
		}
		return plain(v.bar(float64(s.GetMemoryRssBytes())/float64(s.GetMemoryLimitBytes()), 5))
	}},
	{title: "PROCS", width: 5, right: true, least: 120, of: countCell(func(s *bhnodev1.Service) (uint32, bool) { return s.GetProcesses(), s.GetProcesses() > 0 })},
	{title: "THR", width: 4, right: true, least: 90, of: countCell(func(s *bhnodev1.Service) (uint32, bool) { return s.GetThreads(), s.Threads != nil })},
	{title: "FILES", width: 5, right: true, least: 96, of: countCell(func(s *bhnodev1.Service) (uint32, bool) { return s.GetOpenFiles(), s.OpenFiles != nil })},
	{title: "READ/s", width: 6, right: true, least: 110, of: func(v *topView, s *bhnodev1.Service) cell {
		return rateCell(v, s, func(r useRates) float64 { return r.read })
	}},
	{title: "WRITE/s", width: 7, right: true, least: 110, of: func(v *topView, s *bhnodev1.Service) cell {
		return rateCell(v, s, func(r useRates) float64 { return r.written })
	}},
	{title: "RESTARTS", width: 9, right: true, of: restartsCell, above: func(_ *topView, n *bhnodev1.TreeNode) cell {
		return cell{fmt.Sprintf("%d/%d", n.GetRestartsInWindow(), n.GetRestartLimit()), styleDim}
	}},
	{title: "PROBE", width: 8, right: true, of: probeCell},
	{title: "UP", width: 6, right: true, of: func(_ *topView, s *bhnodev1.Service) cell { return orDash(spanOf(s.GetUptime())) }},
	{title: "DETAIL", width: 60, least: 190, of: func(v *topView, s *bhnodev1.Service) cell { return plain(safeText(detailText(v.now, s))) }},
}

func cpuCell(_ *topView, s *bhnodev1.Service) cell {
	if s.CpuPercent == nil {
		return orDash("")
	}
	c := plain(fmt.Sprintf("%.1f", s.GetCpuPercent()))
	if limit := float64(s.GetCpuLimitPercent()); limit > 0 && s.GetCpuPercent() > nearLimit*limit {
		c.style = styleWorking
	}
	return c
}

// nearLimit is what part of a limit is worth a colour.
const nearLimit = 0.9

func memoryCell(_ *topView, s *bhnodev1.Service) cell {
	c := orDash(memoryText(s))
	if s.MemoryLimitBytes != nil && s.MemoryRssBytes != nil {
		c.text += "/" + size(s.GetMemoryLimitBytes())
		if float64(s.GetMemoryRssBytes()) > nearLimit*float64(s.GetMemoryLimitBytes()) {
			c.style = styleBad
		}
	}
	return c
}

func countCell(of func(s *bhnodev1.Service) (uint32, bool)) func(*topView, *bhnodev1.Service) cell {
	return func(_ *topView, s *bhnodev1.Service) cell {
		n, known := of(s)
		if !known {
			return orDash("")
		}
		return plain(fmt.Sprint(n))
	}
}

func rateCell(v *topView, s *bhnodev1.Service, of func(useRates) float64) cell {
	r := v.use.of(s.GetName())
	if !r.rated {
		return orDash("")
	}
	return plain(size(uint64(of(r))))
}

// restartsCell is all restarts, and those that count against its own limit now.
func restartsCell(_ *topView, s *bhnodev1.Service) cell {
	c := plain(fmt.Sprint(s.GetRestarts()))
	if s.GetRestarts() == 0 {
		c.style = styleDim
	}
	if limit := s.GetRestartLimit(); limit > 0 && s.GetRestartsInWindow() > 0 {
		c.text += fmt.Sprintf(" (%d/%d)", s.GetRestartsInWindow(), limit)
		c.style = styleWorking
	}
	return c
}

func probeCell(_ *topView, s *bhnodev1.Service) cell {
	d := s.GetHealthDetail()
	switch {
	case d.GetFailures() > 0:
		return cell{fmt.Sprintf("%d bad", d.GetFailures()), styleBad}
	case d.GetLatency() == nil:
		return orDash("")
	}
	return plain(latency(d.GetLatency().AsDuration()))
}

// spark draws shares of a processor, of a limit where there is one, else of the greatest.
func (v *topView) spark(shares []float64, limit float64) string {
	ramp := []rune(v.screen.pick("▁▂▃▄▅▆▇█", "_.-=oO#@"))
	if limit == 0 {
		limit = max(slices.Max(append([]float64{100}, shares...)), 1)
	}
	var b strings.Builder
	for _, s := range shares {
		i := int(s / limit * float64(len(ramp)))
		b.WriteRune(ramp[min(max(i, 0), len(ramp)-1)])
	}
	return b.String()
}

// bar draws a share of a whole.
func (v *topView) bar(share float64, width int) string {
	full := min(max(int(share*float64(width)+0.5), 0), width)
	return v.screen.pick(strings.Repeat("█", full)+strings.Repeat("░", width-full),
		"["+strings.Repeat("#", full)+strings.Repeat(".", width-full)+"]")
}
