package proc

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"
)

// Announce runs a command of the node's own, which tells somebody of something: in a session
// of its own, as bhnode itself, in bhnode's environment as services get it, with vars added.
// It returns when the command and everything it started is gone, as RunHook does.
func (h *Host) Announce(ctx context.Context, argv []string, vars []EnvVar, timeout time.Duration) error {
	s := &ServiceSpec{Inherit: Inherit{All: true}}
	env := slices.DeleteFunc(s.Environment(os.Environ(), Life{Instance: h.instance}), func(v string) bool {
		return strings.HasPrefix(v, "BLACKHOLE_")
	})
	for _, v := range vars {
		env = append(env, v.Name+"="+v.Value)
	}
	_, err := h.RunHook(ctx, s, env, argv, timeout)
	return err
}
