package main

import (
	"context"
	"errors"
	"time"

	"github.com/blackhole/bhnode/proto/client"
)

// comesBack is how long a node may be away for whoever follows it, or go away again and
// again.
const comesBack = 30 * time.Second

// stay calls do with a connection to the node, and again with another one where the node
// went away and is back: a follower does not notice that bhnode was upgraded, reloaded or
// taken over.
func (a *app) stay(ctx context.Context, do func(context.Context, *client.Client) error) error {
	stayed := time.Now()
	for tries := 0; ; tries++ {
		begun := time.Now()
		err := a.withNode(ctx, do)
		if time.Since(begun) > time.Second {
			stayed = time.Now()
		}
		away := errors.Is(err, errWentAway) || tries > 0 && exitCode(err) == exitNoNode
		if !away || time.Since(stayed) > comesBack || !a.isBack(ctx) {
			return err
		}
	}
}

// isBack waits until a node answers, for a while.
func (a *app) isBack(ctx context.Context) bool {
	say := time.After(time.Second)
	for late := time.After(comesBack); ; {
		select {
		case <-time.After(answerTime):
			if _, err := a.who(ctx); err == nil || exitCode(rpcError(err)) == exitDenied {
				return true // if only to say no
			}
		case <-say:
			a.err.printf("the node went away; waiting %v for it to come back\n", comesBack)
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
}
