package main

import (
	"context"
	"errors"
	"time"

	"github.com/blackhole/bhnode/proto/client"
)

// comesBack is how long a node may be away for whoever follows it.
const comesBack = 5 * time.Second

// stay calls do with a connection to the node, and again with another one where the node
// went away and is back: a follower does not notice that bhnode was upgraded, reloaded or
// taken over.
func (a *app) stay(ctx context.Context, do func(context.Context, *client.Client) error) error {
	for {
		err := a.withNode(ctx, do)
		if !errors.Is(err, errWentAway) || !a.isBack(ctx) {
			return err
		}
	}
}

// isBack waits until a node answers, for a while.
func (a *app) isBack(ctx context.Context) bool {
	for late := time.After(comesBack); ; {
		if _, err := a.who(ctx); err == nil {
			return true
		}
		select {
		case <-time.After(answerTime):
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
}
