package shim

import "strconv"

// Birth is what a process is given before its program is run, where a plain fork and
// exec cannot.
type Birth struct {
	Path         string
	Dir          string // "": bhnode's own
	Joins        int    // how many groups it joins
	OpenFiles    int    // 0: no limit
	Nice         *int
	OOMScoreAdj  *int
	Umask        *int
	NoNewPrivs   bool
	Capabilities *[]int
	As           *User
	Mortal       int // the process that it dies with, 0: none
}

// User is whom a process becomes.
type User struct {
	UID, GID int
	Groups   []int
}

// The keys of what is not a path, each followed by its numbers: "nice -5,oom 300,caps 1 7".
const (
	keyJoins     = "joins"
	keyOpenFiles = "files"
	keyNice      = "nice"
	keyOOM       = "oom"
	keyUmask     = "umask"
	keyNoNew     = "nonew"
	keyCaps      = "caps"
	keyUser      = "user" // uid, gid, groups
	keyMortal    = "mortal"
)

// Args returns the argument vector that has this program become argv.
func (b *Birth) Args(argv []string) []string {
	var text []byte
	put := func(key string, numbers ...int) {
		text = append(append(text, ','), key...)
		for _, n := range numbers {
			text = strconv.AppendInt(append(text, ' '), int64(n), 10)
		}
	}
	put(keyJoins, b.Joins)
	put(keyOpenFiles, b.OpenFiles)
	put(keyMortal, b.Mortal)
	for _, o := range []struct {
		key   string
		value *int
	}{{keyNice, b.Nice}, {keyOOM, b.OOMScoreAdj}, {keyUmask, b.Umask}} {
		if o.value != nil {
			put(o.key, *o.value)
		}
	}
	if b.NoNewPrivs {
		put(keyNoNew)
	}
	if b.Capabilities != nil {
		put(keyCaps, *b.Capabilities...)
	}
	if b.As != nil {
		put(keyUser, append([]int{b.As.UID, b.As.GID}, b.As.Groups...)...)
	}
	return append([]string{"bhnode", command, string(text), b.Path, b.Dir}, argv...)
}

// decode reads what Args has written, without its argument vector; false says that it
// was not Args.
func decode(text, path, dir string) (*Birth, bool) {
	b := &Birth{Path: path, Dir: dir}
	for _, item := range split(text, ',') {
		words := split(item, ' ')
		if len(words) == 0 {
			continue
		}
		numbers := make([]int, 0, len(words))
		for _, w := range words[1:] {
			n, err := strconv.Atoi(w)
			if err != nil {
				return nil, false
			}
			numbers = append(numbers, n)
		}
		if !b.set(words[0], numbers) {
			return nil, false
		}
	}
	return b, true
}

func (b *Birth) set(key string, numbers []int) bool {
	switch {
	case key == keyNoNew:
		b.NoNewPrivs = true
	case key == keyCaps:
		b.Capabilities = &numbers
	case len(numbers) == 0:
		return false
	case key == keyJoins:
		b.Joins = numbers[0]
	case key == keyOpenFiles:
		b.OpenFiles = numbers[0]
	case key == keyMortal:
		b.Mortal = numbers[0]
	case key == keyNice:
		b.Nice = &numbers[0]
	case key == keyOOM:
		b.OOMScoreAdj = &numbers[0]
	case key == keyUmask:
		b.Umask = &numbers[0]
	case key == keyUser && len(numbers) > 1:
		b.As = &User{UID: numbers[0], GID: numbers[1], Groups: numbers[2:]}
	default:
		return false
	}
	return true
}

// split cuts at every sep and drops what is empty.
func split(s string, sep byte) []string {
	var parts []string
	from := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == sep {
			if i > from {
				parts = append(parts, s[from:i])
			}
			from = i + 1
		}
	}
	return parts
}

// Error is what the shim could not do.
type Error struct {
	What  string // ExecWhat, or in words
	Errno int
}

// ExecWhat is what could not be done where the program could not be run.
const ExecWhat = "exec"

func (e *Error) encode() []byte { return []byte(strconv.Itoa(e.Errno) + "," + e.What) }

// DecodeError reads what a shim has reported.
func DecodeError(said string) (*Error, bool) {
	parts := split(said, ',')
	if len(parts) != 2 {
		return nil, false
	}
	n, err := strconv.Atoi(parts[0])
	return &Error{What: parts[1], Errno: n}, err == nil
}
