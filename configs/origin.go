package configs

import (
	"fmt"
	"strings"
)

// Origin is where the value of a key comes from.
type Origin struct {
	Path  string
	Value string // as it is shown
	From  string // "default", or the place in the file, and whether that is below defaults
}

// Forget gives back what only Origins and the schema need: a node runs for long, and never says
// where its values come from.
func (c *Config) Forget() {
	c.origins = nil
	c.root.forget()
}

func (b *branch) forget() {
	b.o = nil
	for _, e := range b.entries {
		if e.supervisor != nil {
			e.supervisor.forget()
			continue
		}
		e.service.o, e.service.health, e.service.restart, e.service.hooks = nil, nil, nil, nil
	}
}

// Origins returns all keys with their values, in the order in which they are shown, and
// where those come from.
func (c *Config) Origins() []Origin {
	f := flatten(c)
	out := make([]Origin, len(f.order))
	for i, path := range f.order {
		out[i] = Origin{path, f.value[path], c.origin(path, f.of[path])}
	}
	return out
}

func (c *Config) origin(path, service string) string {
	at, ok := c.origins[path]
	for _, free := range []string{".env.", ".config."} { // whose keys are the user's
		if before, _, found := strings.Cut(path, free); !ok && found {
			at, ok = c.origins[before+strings.TrimSuffix(free, ".")]
		}
	}
	if !ok {
		return "default"
	}
	from := fmt.Sprintf("%s:%d", c.Source, at.line)
	key, below := strings.CutPrefix(path, join("services", service)+".")
	if below && service != "" && c.origins[join("defaults", key)] == at {
		from += " (defaults)"
	}
	if _, foreign := c.masked[path]; foreign {
		from += " (a variable)"
	}
	return from
}
