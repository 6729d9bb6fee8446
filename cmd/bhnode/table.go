package main

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// cell is one field of a table: its text, and how it is painted.
type cell struct {
	text  string
	style style
}

func plain(text string) cell { return cell{text: text} }

// dash is how a table shows what is unknown or does not apply.
const dash = "-"

func orDash(text string) cell {
	if text == "" {
		return cell{dash, styleDim}
	}
	return plain(text)
}

// columns lays rows out in columns two blanks apart, by display width, and cuts
// the last one at the edge of the terminal. Empty columns take no room; what
// could harm the terminal is made visible.
func (s *screen) columns(rows [][]cell) []string {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			c.text = safeText(c.text)
			row[i] = c
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(c.text))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		var line strings.Builder
		pad := 0
		for i, c := range row {
			if widths[i] == 0 {
				continue
			}
			if c.text != "" {
				line.WriteString(strings.Repeat(" ", pad))
				line.WriteString(s.paint(c.style, c.text))
				pad = 0
			}
			pad += widths[i] - ansi.StringWidth(c.text) + 2
		}
		lines[n] = s.fit(line.String())
	}
	return lines
}

// table prints rows under a header.
func (s *screen) table(header []string, rows [][]cell) {
	head := make([]cell, len(header))
	for i, h := range header {
		head[i] = cell{h, styleBold}
	}
	s.lines(s.columns(append([][]cell{head}, rows...)))
}

// lines prints lines in one write.
func (s *screen) lines(lines []string) {
	if len(lines) > 0 {
		s.printf("%s\n", strings.Join(lines, "\n"))
	}
}
