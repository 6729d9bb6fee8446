package configs

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// choice is one word of a key that takes a word, and what it stands for. The
// first of several words for one value is the one shown.
type choice[T comparable] struct {
	word  string
	value T
}

func words[T comparable](choices []choice[T]) string { return strings.Join(wordsOf(choices), ", ") }

func wordsOf[T comparable](choices []choice[T]) []string {
	list := make([]string, len(choices))
	for i, c := range choices {
		list[i] = c.word
	}
	return list
}

func wordFor[T comparable](choices []choice[T], value T) string {
	for _, c := range choices {
		if c.value == value {
			return c.word
		}
	}
	return fmt.Sprint(value)
}

var days = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)d`)

// parseDuration reads a Go duration that may begin with days, such as 1d12h.
func parseDuration(s string) (time.Duration, error) {
	rest := s
	var total time.Duration
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil || n > math.MaxInt64/float64(24*time.Hour) {
			return 0, errors.New("is too long")
		}
		total, rest = time.Duration(n*float64(24*time.Hour)), s[len(m[0]):]
		if rest == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(rest)
	switch {
	case err != nil && isNumber(rest):
		return 0, errors.New("needs a unit, such as " + rest + "s")
	case err != nil:
		return 0, errors.New("is not a duration such as 500ms, 30s, 5m, 1h30m or 1d")
	case d < 0:
		return 0, errors.New("is negative")
	case total+d < total:
		return 0, errors.New("is too long")
	}
	return total + d, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// parseSignal reads a signal's name, with or without SIG.
func parseSignal(s string) (syscall.Signal, bool) {
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	return sig, sig != 0
}

// parseInt reads an integer of the document: decimal, 0x, 0o or 0b, with _
// between digits.
func parseInt(s string) (int, error) {
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
	return int(n), err
}

// suggest asks whether the known word nearest to a misspelt one was meant; it
// returns "" if none is near.
func suggest(word string, known []string) string {
	best, bestDistance := "", min(max(len(word)/3, 1), 3)+1
	for _, k := range known {
		if d := distance(plainWord(word), plainWord(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	for _, k := range known {
		if best == "" && len(word) >= 4 && (strings.Contains(k, plainWord(word)) || strings.Contains(plainWord(word), k)) {
			best = k
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

func plainWord(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
