package main

import (
	"context"

	"github.com/spf13/cobra"
)

// newRunCommand returns the node itself.
func newRunCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Runs the node, in the foreground",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, cfg, err := a.load(nil)
			if err != nil {
				return configError(err)
			}
			a.warn(cfg)
			return failure("", "this build cannot run a node")
		},
	}
}

// startDetached starts a node in the background and waits until it answers.
func (a *app) startDetached(context.Context, string) error {
	return failure("", "this build cannot run a node")
}
