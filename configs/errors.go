package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// excerptWidth is how many characters of a source line an error shows.
const excerptWidth = 120

// Error is one mistake in a configuration.
type Error struct {
	File string
	// Line and Column count from 1, in characters; 0 is the file as a whole.
	Line, Column int
	// Path is the key, such as services.identity.tcp_port; "" is the file as a whole.
	Path    string
	Message string
	// Excerpt is the source line, "" where there is none.
	Excerpt string
	// Hint is what to do about it, "" where nothing can be said.
	Hint string

	pos pos // orders the errors of one configuration
}

// Error returns the mistake with its place, and under it the source line with
// the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	b.WriteString(": " + e.Message)
	switch {
	case e.Excerpt != "":
		line, caret := excerpt(e.Excerpt, e.Column)
		number := strconv.Itoa(e.Line)
		fmt.Fprintf(&b, "\n  %s | %s\n  %*s | %*s^", number, line, len(number), "", caret, "")
		if e.Hint != "" {
			b.WriteString(" " + e.Hint)
		}
	case e.Hint != "":
		b.WriteString("\n  " + e.Hint)
	}
	return b.String()
}

// Errors are all mistakes of a configuration, in the order of the file.
type Errors []*Error

// Error returns the mistakes one below the other.
func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\n")
}

// Unwrap returns the single mistakes.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// excerpt returns the part of a line around a column, safe for a terminal, and
// how many characters of it stand before that column.
func excerpt(line string, column int) (part string, before int) {
	runes := []rune(strings.TrimRight(line, " \t\r"))
	before = min(max(column-1, 0), len(runes))
	if len(runes) > excerptWidth {
		from := min(max(before-excerptWidth/2, 0), len(runes)-excerptWidth)
		runes, before = runes[from:from+excerptWidth], before-from
	}
	for i, r := range runes {
		switch {
		case r == '\t':
			runes[i] = ' '
		case !unicode.IsPrint(r):
			runes[i] = unicode.ReplacementChar
		}
	}
	return string(runes), before
}

// inFileOrder sorts mistakes by position and drops those said twice: one value
// can be met under several paths, by an alias or through `defaults`.
func inFileOrder(errs Errors) Errors {
	slices.SortStableFunc(errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.pos.line, b.pos.line), cmp.Compare(a.pos.column, b.pos.column))
	})
	type key struct {
		file         string
		line, column int
		message      string
	}
	seen := map[key]bool{}
	return slices.DeleteFunc(errs, func(e *Error) bool {
		k := key{e.File, e.Line, e.Column, e.Message}
		defer func() { seen[k] = true }()
		return seen[k]
	})
}
