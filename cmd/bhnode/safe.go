package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// safeText makes text of others harmless to a terminal: colours are dropped,
// every other escape, control byte, invalid byte and invisible or direction-
// changing rune becomes visible as an escape of its own. Tabs become blanks.
func safeText(text string) string { return cleanText(text, false) }

// safeLines is safeText that leaves the lines of a text apart.
func safeLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = safeText(line)
	}
	return strings.Join(lines, "\n")
}

// cleanText is safeText; with ascii, runes beyond ASCII become visible too.
func cleanText(text string, ascii bool) string {
	text = strings.TrimSuffix(text, "\r")
	if isPlain(text) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		if n := colourLen(text[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case r == '\t':
			out.WriteString("    ")
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&out, `\x%02x`, r)
		case !showable(r) || ascii && r > 0x7f:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
		i += n
	}
	return out.String()
}

// isPlain says that text is printable ASCII and needs no work.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// showable runes take a cell or belong to one that does. A zero-width joiner
// holds emoji together; the other format runes hide or reorder text.
func showable(r rune) bool {
	return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) || unicode.Is(unicode.Co, r) || r == '\u200d'
}

// colourLen is the length of the SGR sequence (ESC [ digits m) text begins with.
func colourLen(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	for i := 2; i < len(text); i++ {
		switch c := text[i]; {
		case c == 'm':
			return i + 1
		case c != ';' && c != ':' && (c < '0' || c > '9'):
			return 0
		}
	}
	return 0
}
