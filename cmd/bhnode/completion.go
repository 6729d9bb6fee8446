package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blackhole/bhnode/configs"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// completionTimeout is how long a node may take while the user holds the tab key.
const completionTimeout = 500 * time.Millisecond

// nameKind is what a name on the command line may be.
type nameKind uint8

const (
	services nameKind = 1 << iota
	supervisors
)

func newCompletionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Prints the completion script for a shell",
		Long: `Prints the completion script for a shell; names of services come from the
running node, or else from the configuration.`,
		Example: `  source <(bhnode completion bash)
  bhnode completion zsh > "${fpath[1]}/_bhnode"
  bhnode completion fish > ~/.config/fish/completions/bhnode.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			}
			return usageError("it is bash, zsh or fish", "unknown shell %q", args[0])
		},
	}
}

// completes tells whether a shell asks what can come next.
func completes(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// plainFlags takes the quotes out of what flags say: the help names a flag's value by what
// stands in them, a shell shows them as they are.
func plainFlags(cmd *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{cmd.PersistentFlags(), cmd.Flags()} {
		flags.VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
	}
	for _, sub := range cmd.Commands() {
		plainFlags(sub)
	}
}

// completeFixed offers the values of a flag.
func completeFixed(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(fmt.Sprintf("completion of --%s: %v", flag, err)) //nolint:forbidigo // a flag that is not there is a bug
	}
}

// completeNames offers names for the first limit arguments, 0 for all.
func (a *app) completeNames(limit int, kind nameKind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if limit > 0 && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		names := slices.DeleteFunc(a.names(ctx, kind), func(n string) bool { return slices.Contains(args, n) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// names asks the node, else the configuration.
func (a *app) names(ctx context.Context, kind nameKind) []string {
	if node, err := a.dial(); err == nil {
		defer func() { _ = node.Close() }()
		if names := nodeNames(ctx, node, kind); len(names) > 0 {
			return names
		}
	}
	src, err := configs.Find(a.configFlag, a.env)
	if err != nil {
		return nil
	}
	cfg, err := configs.Load(src, a.getenv)
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range cfg.Services {
		if kind&services != 0 && s.Enabled {
			names = append(names, s.Name)
		}
	}
	if kind&supervisors != 0 {
		names = append(names, supervisorNames(cfg.Tree)...)
	}
	return names
}

// knownNames are the supervisors a node knows, and all names.
func knownNames(ctx context.Context, node *client.Client) (above, all []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), completionTimeout)
	defer cancel()
	above = nodeNames(ctx, node, supervisors)
	return above, append(nodeNames(ctx, node, services), above...)
}

func nodeNames(ctx context.Context, node *client.Client, kind nameKind) []string {
	var names []string
	if kind&services != 0 {
		if st, err := node.GetStatus(ctx, &bhnodev1.GetStatusRequest{}); err == nil {
			for _, s := range st.GetServices() {
				names = append(names, s.GetName())
			}
		}
	}
	if kind&supervisors != 0 {
		if tree, err := node.GetTree(ctx, &bhnodev1.GetTreeRequest{}); err == nil {
			names = appendSupervisors(names, tree.GetRoot())
		}
	}
	return names
}

func appendSupervisors(names []string, n *bhnodev1.TreeNode) []string {
	if n.GetKind() == bhnodev1.NodeKind_NODE_KIND_SUPERVISOR {
		names = append(names, n.GetName())
	}
	for _, c := range n.GetChildren() {
		names = appendSupervisors(names, c)
	}
	return names
}
