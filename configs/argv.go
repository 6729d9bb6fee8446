package configs

import (
	"errors"
	"fmt"
	"strings"
)

// splitCommand splits a command as a shell would, without being one: blanks
// separate, '…', "…" and \ quote. ${…} is kept whole, so that the value of a
// variable never becomes two arguments. What only a shell could do is an error.
func splitCommand(s string) ([]string, error) {
	sp := splitter{rest: s}
	for sp.rest != "" {
		if err := sp.step(); err != nil {
			return nil, err
		}
	}
	if sp.quote != 0 {
		return nil, fmt.Errorf("the quote %c is never closed", sp.quote)
	}
	sp.end()
	return sp.words, nil
}

type splitter struct {
	rest  string
	words []string
	word  strings.Builder
	open  bool // a word has begun
	quote byte // ' or " while inside, else 0
}

// step takes one character, escape or variable.
func (sp *splitter) step() error {
	c := sp.rest[0]
	switch {
	case strings.HasPrefix(sp.rest, "$$"):
		sp.take(2)
	case strings.HasPrefix(sp.rest, "${"):
		body, _, closed := braced(sp.rest[2:])
		if !closed {
			sp.take(2)
			return nil
		}
		sp.take(len(body) + 3)
	case sp.quote != 0 && c == sp.quote:
		sp.quote = 0
		sp.rest = sp.rest[1:]
	case sp.quote == '\'':
		sp.take(1)
	case c == '\\':
		return sp.escape()
	case sp.quote == '"':
		sp.take(1)
	case c == '\'' || c == '"':
		sp.quote, sp.open = c, true
		sp.rest = sp.rest[1:]
	case strings.IndexByte(" \t\r\n", c) >= 0:
		sp.end()
		sp.rest = sp.rest[1:]
	case strings.IndexByte("|&;<>()`", c) >= 0:
		return fmt.Errorf("%c needs a shell, and none runs", c)
	default:
		sp.take(1)
	}
	return nil
}

// escape takes a backslash and what it quotes; within "…" it quotes only what
// it must.
func (sp *splitter) escape() error {
	if len(sp.rest) == 1 {
		return errors.New("a backslash stands at the end")
	}
	if sp.quote == '"' && strings.IndexByte("\"\\`$", sp.rest[1]) < 0 {
		sp.take(1)
		return nil
	}
	sp.rest = sp.rest[1:]
	if sp.rest[0] == '$' {
		sp.word.WriteByte('$') // $$ is what a dollar is written as
	}
	sp.take(1)
	return nil
}

func (sp *splitter) take(n int) {
	sp.word.WriteString(sp.rest[:n])
	sp.open = true
	sp.rest = sp.rest[n:]
}

func (sp *splitter) end() {
	if sp.open {
		sp.words = append(sp.words, sp.word.String())
		sp.word.Reset()
		sp.open = false
	}
}
