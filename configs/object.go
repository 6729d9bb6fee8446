package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blackhole/bhnode/supervision"
)

// decoder reads one configuration and gathers its mistakes.
type decoder struct {
	file    string
	lines   []string
	machine machine
	// base is what relative paths start from, socketBase those of sockets and
	// of runtime_dir.
	base, socketBase string
	errs             Errors
	// masked holds what is shown instead of a value, by path.
	masked map[string]string
	// shapes is what each key takes, by path; nil: nobody wants to know.
	shapes map[string]shape
	// trust is why root must not run a program, by path; "": it may.
	trust map[string]string
	// origins is where each value stands that the file has, by path.
	origins map[string]pos
}

// fail notes a mistake; format and args are its message.
func (d *decoder) fail(at pos, path, hint, format string, args ...any) {
	e := &Error{
		File: d.file, Line: at.line, Column: at.column, Path: path,
		Message: fmt.Sprintf(format, args...), Hint: hint, pos: at,
	}
	if at.line > 0 && at.line <= len(d.lines) {
		e.Excerpt = d.lines[at.line-1]
	}
	d.errs = append(d.errs, e)
}

// text expands a string value; what cannot be expanded is reported and reads as
// "". A value of another scalar type reads as it was written.
func (d *decoder) text(n *node, path string) text {
	if n.kind != stringKind {
		return text{value: n.text, runtime: n.text, masked: n.text}
	}
	return d.expand(n, path, n.text)
}

// expand expands a part of a string value.
func (d *decoder) expand(n *node, path, s string) text {
	t, errs := expand(s, d.machine.getenv)
	for _, e := range errs {
		d.fail(n.pos, path, e.hint, "%s", e.message)
	}
	if t.foreign {
		d.masked[path] = t.masked
	}
	return t
}

// derive masks a value that is by default made of another: what is hidden there is
// hidden here.
func (d *decoder) derive(path, from, prefix, suffix string) {
	if masked, ok := d.masked[from]; ok {
		d.masked[path] = prefix + masked + suffix
	}
}

// object reads the keys of one mapping and reports those it was never asked for.
type object struct {
	d     *decoder
	path  string
	node  *node
	known []string
	place pos // where something missing is missed
}

// object takes a mapping; nothing at all, or the null an empty mapping reads as,
// is one without keys. Any other value is reported.
func (d *decoder) object(n *node, path string) *object {
	o := &object{d: d, path: path, node: n, place: pos{1, 1}}
	if n != nil {
		o.place = n.pos
	}
	if n == nil || n.kind == mapKind {
		return o
	}
	if n.kind != nullKind {
		d.fail(n.pos, path, "", "must be a mapping, not %s", n.kind)
	}
	o.node = &node{kind: mapKind, pos: n.pos}
	return o
}

// done reports the keys nobody asked for. x-… keys are the user's own.
func (o *object) done() {
	if o.node == nil {
		return
	}
	for _, f := range o.node.fields {
		if !slices.Contains(o.known, f.key) && !strings.HasPrefix(f.key, "x-") {
			o.d.fail(f.pos, join(o.path, f.key), suggest(f.key, o.known), "unknown key")
		}
	}
}

// get returns the value of a key, nil if it is absent, and makes the key known.
func (o *object) get(key string) *node {
	if !slices.Contains(o.known, key) {
		o.known = append(o.known, key)
	}
	n := o.node.get(key)
	if n != nil && o.d.origins != nil {
		o.d.origins[o.at(key)] = n.pos
	}
	return n
}

func (o *object) has(key string) bool { return o.get(key) != nil }

func (o *object) at(key string) string { return join(o.path, key) }

// pos returns the place of a key's value; if it is absent, that of the nearest
// key around it.
func (o *object) pos(key string) pos {
	if n := o.get(key); n != nil {
		return n.pos
	}
	return o.place
}

// fail reports a mistake in the value of a key.
func (o *object) fail(key, hint, format string, args ...any) {
	o.d.fail(o.pos(key), o.at(key), hint, format, args...)
}

// child returns the mapping under a key.
func (o *object) child(key string) *object {
	o.takes(key, shape{kind: shapeMapping})
	n := o.get(key)
	child := o.d.object(n, o.at(key))
	child.place = o.place
	if n != nil {
		child.place = o.node.keyPos(key)
	}
	return child
}

// scalar returns the text of a key that takes a single value; ok is false if it
// is absent or no such value, which is reported.
func (o *object) scalar(key, want string) (t text, n *node, ok bool) {
	n = o.get(key)
	if n == nil {
		return text{}, nil, false
	}
	t, ok = o.d.scalar(n, o.at(key), want)
	return t, n, ok
}

// scalar expands a single value; ok is false if it is none or cannot be expanded.
func (d *decoder) scalar(n *node, path, want string) (t text, ok bool) {
	switch {
	case n.kind == nullKind:
		d.fail(n.pos, path, "", "has no value")
		return text{}, false
	case !n.scalar():
		d.fail(n.pos, path, "", "must be %s, not %s", want, n.kind)
		return text{}, false
	}
	failed := len(d.errs)
	t = d.text(n, path)
	if strings.Contains(t.value, "\x00") {
		d.fail(n.pos, path, "", "must not contain a NUL byte")
	}
	return t, len(d.errs) == failed
}

// notRuntime refuses ${BLACKHOLE_…} where its value would be needed before the
// service starts.
func (d *decoder) notRuntime(n *node, path string, t text) bool {
	if t.refs {
		d.fail(n.pos, path, "it can stand in command, env, health_check.target and hooks",
			"${BLACKHOLE_…} is known only when the service starts")
	}
	return !t.refs
}

// str reads a string.
func (o *object) str(key, fallback string) string {
	o.takes(key, shape{kind: shapeString, fallback: fallback})
	t, n, ok := o.scalar(key, "a string")
	if !ok || !o.d.notRuntime(n, o.at(key), t) {
		return fallback
	}
	return t.value
}

// word reads a string that must be of a form; what names the form.
func (o *object) word(key, fallback string, valid func(string) bool, what string) string {
	o.takes(key, shape{kind: shapeString})
	t, n, ok := o.scalar(key, "a string")
	if !ok || !o.d.notRuntime(n, o.at(key), t) {
		return fallback
	}
	if !valid(t.value) {
		o.fail(key, "", "must be %s, not %s", what, quoted(t))
		return fallback
	}
	return t.value
}

// integer reads a number within bounds.
func (o *object) integer(key string, fallback, low, high int) int {
	o.takes(key, shape{kind: shapeInteger, low: float64(low), high: float64(high), fallback: fallback})
	t, n, ok := o.scalar(key, "an integer")
	if !ok {
		return fallback
	}
	value, err := parseInt(t.value)
	switch {
	case err != nil || (n.kind != integerKind && !t.foreign):
		o.fail(key, "", "must be an integer, not %s", shown(n, t))
	case value < low && high == maxInt:
		o.fail(key, "", "must be %d or more, not %s", low, t.masked)
	case value < low || value > high:
		o.fail(key, "", "must be between %d and %d, not %s", low, high, t.masked)
	default:
		return value
	}
	return fallback
}

// maxInt is the upper bound of a number that has none.
const maxInt = 1<<31 - 1

// number reads a number that may have a fraction, within bounds.
func (o *object) number(key string, fallback, low, high float64) float64 {
	o.takes(key, shape{kind: shapeNumber, low: low, high: high, fallback: fallback})
	t, n, ok := o.scalar(key, "a number")
	if !ok {
		return fallback
	}
	value, err := strconv.ParseFloat(strings.ReplaceAll(t.value, "_", ""), 64)
	switch {
	case err != nil || (n.kind != integerKind && n.kind != floatKind && !t.foreign):
		o.fail(key, "", "must be a number, not %s", shown(n, t))
	case !(value >= low && value <= high):
		o.fail(key, "", "must be between %v and %v, not %s", low, high, t.masked)
	default:
		return value
	}
	return fallback
}

// boolean reads true or false.
func (o *object) boolean(key string, fallback bool) bool {
	o.takes(key, shape{kind: shapeBoolean, fallback: fallback})
	t, n, ok := o.scalar(key, "true or false")
	if !ok {
		return fallback
	}
	value, err := strconv.ParseBool(strings.ToLower(t.value))
	if err != nil || (n.kind != boolKind && !t.foreign) {
		o.fail(key, "", "must be true or false, not %s", shown(n, t))
		return fallback
	}
	return value
}

// duration reads a duration of at least low.
func (o *object) duration(key string, fallback, low time.Duration) time.Duration {
	value, _ := o.durationOr(key, fallback, low)
	return value
}

// durationOr reads a duration of at least low, or one of the words.
func (o *object) durationOr(key string, fallback, low time.Duration, words ...string) (value time.Duration, word string) {
	o.takes(key, shape{kind: shapeDuration, words: words, fallback: supervision.FormatDuration(fallback)})
	t, n, ok := o.scalar(key, "a duration")
	if !ok || !o.d.notRuntime(n, o.at(key), t) {
		return fallback, ""
	}
	if slices.Contains(words, t.value) {
		return 0, t.value
	}
	value, err := parseDuration(t.value)
	switch {
	case err != nil && len(words) > 0:
		o.fail(key, "", "%s %s; %s can stand here too", shown(n, t), err, strings.Join(words, " and "))
	case err != nil:
		o.fail(key, "", "%s %s", shown(n, t), err)
	case value < low:
		o.fail(key, "", "must not be shorter than %s, not %s", supervision.FormatDuration(low), t.masked)
	default:
		return value, ""
	}
	return fallback, ""
}

// pick reads one of a set of words.
func pick[T comparable](o *object, key string, fallback T, choices []choice[T]) T {
	o.takes(key, shape{kind: shapeChoice, words: wordsOf(choices), fallback: wordFor(choices, fallback)})
	t, n, ok := o.scalar(key, "one of "+words(choices))
	if !ok {
		return fallback
	}
	for _, c := range choices {
		if c.word == t.value {
			return c.value
		}
	}
	o.fail(key, suggest(t.value, wordsOf(choices)), "must be one of %s, not %s", words(choices), shown(n, t))
	return fallback
}

// quoted shows a text in a message, without what came from a variable.
func quoted(t text) string {
	runes := []rune(t.masked)
	if len(runes) > 60 {
		return strconv.Quote(string(runes[:60])) + "…"
	}
	return strconv.Quote(t.masked)
}

// shown shows a value in a message: a string quoted, any other as written.
func shown(n *node, t text) string {
	if n.kind == stringKind {
		return quoted(t)
	}
	return t.masked
}
