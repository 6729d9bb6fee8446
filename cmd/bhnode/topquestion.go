package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// asked is a question with what a yes would bring about, in so many lines at most.
func (m *topModel) asked(most int) []string {
	q := m.question
	what := q.op.verb + " " + safeText(q.op.names[0])
	switch {
	case q.err != nil:
		return []string{m.app.out.paint(styleBad, what+": "+topError(q.err)), m.dim("any key goes back")}
	case !q.told:
		return []string{what + "? asking who is touched"}
	}
	first := m.app.out.paint(styleBold, what+"?") + "  " + m.app.out.paint(styleWorking, "y does it") + ", any other key does not"
	return append([]string{first}, q.touched(m.width, most-1, m.app.out.pick("…", "..."))...)
}

// touched is who is touched, in so many lines at most: those that stop or start together on
// lines of their own, or else all behind one another. Who is left out for want of room is
// counted.
func (q *topQuestion) touched(width, most int, ellipsis string) []string {
	if most < 2 {
		return []string{fmt.Sprintf("  stops %d, starts %d", len(slices.Concat(q.stops...)), len(slices.Concat(q.starts...)))}
	}
	fill := func(label string, waves [][]string, most int) []string {
		return filled(label, waveWords(waves), width, most, ellipsis)
	}
	var apart []string
	for _, way := range []struct {
		label string
		waves [][]string
	}{{"stops", q.stops}, {"starts", q.starts}} {
		for i := range max(len(way.waves), 1) {
			apart = append(apart, fill(waveLabel(way.label, i), way.waves[i:min(i+1, len(way.waves))], 0)...)
		}
	}
	if len(apart) <= most {
		return apart
	}
	stops, starts := fill("stops", q.stops, 0), fill("starts", q.starts, 0)
	if len(stops)+len(starts) > most {
		half := min(len(stops), max(most/2, most-len(starts)))
		stops, starts = fill("stops", q.stops, half), fill("starts", q.starts, most-half)
	}
	return append(stops, starts...)
}

// waveWords are services with what stands between them.
func waveWords(waves [][]string) []string {
	var words []string
	for i, wave := range waves {
		for j, name := range wave {
			word := safeText(name)
			if i > 0 && j == 0 {
				word = "then " + word
			}
			switch {
			case j < len(wave)-1:
				word += ","
			case i < len(waves)-1:
				word += ";"
			}
			words = append(words, word)
		}
	}
	if words == nil {
		words = []string{"nobody"}
	}
	return words
}

// filled fills lines with words. There are so many lines at most, 0 for no limit, and the
// last one counts the words for which there was no room.
func filled(label string, words []string, width, most int, ellipsis string) []string {
	indent := fmt.Sprintf("  %-7s", label)
	lines := []string{indent}
	blank := true // nothing but the indent is on the last line
	for i, word := range words {
		more := fmt.Sprintf(" %s and %d more", ellipsis, len(words)-i)
		room := width
		if len(lines) == most && i < len(words)-1 {
			room -= len(more)
		}
		last := &lines[len(lines)-1]
		switch fits := ansi.StringWidth(*last)+1+ansi.StringWidth(word) <= room; {
		case fits || blank:
			*last += " " + word
			blank = false
		case len(lines) == most:
			*last += more
			return lines
		default:
			lines = append(lines, strings.Repeat(" ", len(indent))+" "+word)
		}
	}
	return lines
}
