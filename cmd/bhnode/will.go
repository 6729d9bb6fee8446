package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/supervision"
)

// heirVariable hands a bhnode that was put in the place of another one its will.
const heirVariable = "BHNODE_HEIR"

// will is what a bhnode leaves word of to the one in its place.
type will struct {
	Notice string `json:"notice"`           // the event that tells of it
	Cause  uint64 `json:"cause,omitempty"`  // the event that brought it about
	Config string `json:"config,omitempty"` // the file of the snapshot to go on with; "": where configurations are looked for
	Final  bool   `json:"final,omitempty"`  // there is no way back
	Why    string `json:"why,omitempty"`    // what ran before comes back

	Detached bool `json:"detached,omitempty"` // nobody reads what is printed
}

// readWill takes the will out of the environment; nil: nobody was here before.
func readWill(getenv func(string) (string, bool)) *will {
	text, ok := getenv(heirVariable)
	_ = os.Unsetenv(heirVariable) // of this exec
	if !ok || text == "" {
		return nil
	}
	w := &will{}
	if err := json.Unmarshal([]byte(text), w); err != nil || w.Notice == "" { // of an older bhnode
		return &will{Notice: supervision.NodeUpgraded}
	}
	return w
}

// reloads tells whether another configuration is to come into force.
func (w *will) reloads() bool { return w != nil && w.Notice == supervision.NodeReloading }

// environment is ours without what is meant for this program alone, and with the will.
func (w *will) environment() []string {
	text, _ := json.Marshal(w) // of strings and a number
	return append(heirEnvironment(), heirVariable+"="+string(text))
}

// loadFor reads the configuration that a will names.
func (a *app) loadFor(w *will) (configs.Source, *configs.Config, error) {
	if w == nil || w.Config == "" {
		return a.load(nil)
	}
	kept, err := configs.ReadApplied(w.Config)
	if err != nil {
		return configs.Source{}, nil, err
	}
	cfg, err := kept.Load(a.getenv)
	return kept.Source(), cfg, err
}

// ownBinary is this program, also where another one has taken its place on the disk.
func ownBinary() string {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil || strings.HasSuffix(path, " (deleted)") {
		return self
	}
	return path
}

// goBackAtOnce puts this program in its own place with what ran before, while nothing is
// open yet but what the one before left open. It returns if that could not be done.
func (w *will) goBackAtOnce(history configs.History, why error) error {
	last, ok := history.Last()
	if !ok || w.Final {
		return why
	}
	back := will{Notice: supervision.NodeReloading, Cause: w.Cause, Config: history.Path(last.Number), Final: true, Why: oneLine(why), Detached: w.Detached}
	return syscall.Exec(ownBinary(), os.Args, back.environment()) //nolint:gosec // ourselves
}

// oneLine is an error in a line, which an environment and an event can hold.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	return text[:min(len(text), 1000)]
}
