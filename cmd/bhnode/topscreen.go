package main

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// The lines of the screen besides the table and the pane: the header, the heading of each,
// and the footer.
const topFrame = 5

// paneRoom is how many lines the pane has.
func (m *topModel) paneRoom() int {
	room := max(m.height-topFrame, 0)
	usual := min(max(room/3, 3), room)
	if m.pane.large {
		usual = max(room-3, 0)
	}
	return max(usual, len(m.instead(max(room-1, 0)))) // a row stays: the one that a question is about
}

// tableRoom is how many rows the table has.
func (m *topModel) tableRoom() int { return max(m.height-topFrame-m.paneRoom(), 0) }

// View implements tea.Model.
func (m *topModel) View() tea.View {
	v := tea.NewView(strings.Join(m.draw(), "\n"))
	v.AltScreen = true
	return v
}

// draw is the screen, line by line.
func (m *topModel) draw() []string {
	screen := m.app.out
	if m.height == 0 {
		return nil
	}
	if m.at == nil {
		lines := []string{"asking the node"}
		if m.away != "" {
			lines[0] = "not heard yet: " + safeText(m.away)
		}
		return append(lines, m.dim("q quit"))
	}
	v := m.view()
	lines := v.header()
	if m.away != "" {
		lines[1] = v.fit(screen.paint(styleBad, "not heard for "+span(m.app.now().Sub(m.heard))+": "+safeText(m.away)))
	}
	lines = append(lines, m.table(v)...)
	lines = append(lines, m.rule(len(v.rows())))
	lines = append(lines, m.below(v)...)
	return append(lines, v.fit(m.dim(m.footer())))
}

func (m *topModel) dim(text string) string { return m.app.out.paint(styleDim, text) }

// table is the part of the table that is seen, with the row that is selected in it.
func (m *topModel) table(v *topView) []string {
	rows, room := v.rows(), m.tableRoom()
	i := m.index(rows)
	if i >= 0 {
		m.first = min(max(m.first, i-room+1), i)
	}
	m.first = max(min(m.first, len(rows)-room), 0)
	lines := v.table(rows) // all of them, so that the columns stay where they are
	return padded(append(lines[:1:1], lines[1:][m.first:min(m.first+room, len(rows))]...), room+1)
}

// rule is the line between the table and the pane: what the pane shows, and how many rows are
// above and below those that are seen.
func (m *topModel) rule(rows int) string {
	screen := m.app.out
	line := screen.pick("─", "-")
	var hidden string
	if m.first > 0 {
		hidden = fmt.Sprintf(" %s %d more", screen.pick("↑", "^"), m.first)
	}
	if n := rows - m.first - m.tableRoom(); n > 0 {
		hidden += fmt.Sprintf(" %s %d more", screen.pick("↓", "v"), n)
	}
	if hidden != "" {
		hidden += " " + line + line
	}
	room := max(m.width-ansi.StringWidth(hidden), 0)
	title := ansi.Truncate(line+line+" "+safeText(m.pane.of)+" ", room, screen.pick("…", "~"))
	title += strings.Repeat(line, room-ansi.StringWidth(title))
	return m.dim(title) + ansi.Truncate(hidden, m.width, "")
}

// instead is what the pane holds in place of a log or events, in so many lines at most: the
// keys, or a question; nil: neither.
func (m *topModel) instead(most int) []string {
	var lines []string
	switch {
	case m.help:
		lines = topKeys
	case m.question != nil:
		lines = m.asked(most)
	}
	return lines[:min(len(lines), most)]
}

// below is what the pane holds.
func (m *topModel) below(v *topView) []string {
	room := m.paneRoom()
	lines := m.instead(room)
	if lines == nil {
		lines = m.pane.lines[max(0, len(m.pane.lines)-room):]
	}
	if len(lines) == 0 && m.pane.of != "" {
		lines = []string{m.dim("nothing yet")}[:min(room, 1)]
	}
	out := make([]string, 0, room)
	for _, line := range lines[:min(len(lines), room)] {
		out = append(out, v.fit(line))
	}
	return padded(out, room)
}

// padded fills up with empty lines.
func padded(lines []string, room int) []string {
	return append(lines, slices.Repeat([]string{""}, max(room-len(lines), 0))...)
}

var topKeys = []string{
	"up down pgup pgdn home end   select         s S   sort by another column",
	"l   log of the selected      e   its events       enter   more room for them",
	"/   filter by name or state  esc   clear it       ?   these keys",
	"r   restart   x   stop   u   start: who is touched is shown first",
	"q   quit",
}
