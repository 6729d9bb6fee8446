package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

func newDebugCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "debug NAME on|off",
		Short: "Has a service log all, or as before",
		Long: `Has a service that is built on bhnode's service host log everything from debug on,
without a restart, or again as its log_level says. Its next start forgets it.`,
		Example: `  bhnode debug ledger on
  bhnode debug ledger off`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"on", "off"}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeNames(1, services)(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "on" && args[1] != "off" {
				return usageError("it is on or off", "debug %s %q", args[0], args[1])
			}
			a.asked = args[:1]
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				got, err := query(ctx, func(ctx context.Context) (*bhnodev1.DebugServiceResponse, error) {
					return node.DebugService(ctx, &bhnodev1.DebugServiceRequest{Name: args[0], On: args[1] == "on"})
				})
				if err != nil {
					return err
				}
				return a.confirm(map[string]any{"service": args[0], "level": got.GetLevel()}, "%s logs from level %s on", args[0], got.GetLevel())
			})
		},
	}
}

func newProfileCommand(a *app) *cobra.Command {
	var cpu time.Duration
	var heap bool
	var file string
	cmd := &cobra.Command{
		Use:   "profile NAME [--cpu TIME | --heap]",
		Short: "Writes a profile of a service, for go tool pprof",
		Long: `Writes a profile of a service that is built on bhnode's service host: where its
processor time goes, for 30 s unless told otherwise, or what is on its heap.`,
		Example: `  bhnode profile ledger                # 30 s of processor time
  bhnode profile ledger --heap -f heap.pprof
  bhnode profile ledger --cpu 5s && go tool pprof -top ledger-cpu.pprof`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(1, services),
		RunE: func(cmd *cobra.Command, args []string) error {
			if heap && cmd.Flags().Changed("cpu") {
				return usageError("ask twice", "--cpu and --heap exclude each other")
			}
			req := &bhnodev1.ProfileServiceRequest{Name: args[0]}
			kind := "heap"
			if !heap {
				kind, req.Cpu = "cpu", durationpb.New(cpu)
			}
			if file == "" {
				file = fmt.Sprintf("%s-%s.pprof", args[0], kind)
			}
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				return a.profile(ctx, node, req, file)
			})
		},
	}
	cmd.Flags().DurationVar(&cpu, "cpu", 30*time.Second, "processor time, for so long")
	cmd.Flags().BoolVar(&heap, "heap", false, "the heap as it is")
	cmd.Flags().StringVarP(&file, "file", "f", "", "where to write it (default: NAME-cpu.pprof, NAME-heap.pprof)")
	return cmd
}

// profile writes a profile to a file, whole or not at all.
func (a *app) profile(ctx context.Context, node *client.Client, req *bhnodev1.ProfileServiceRequest, file string) error {
	if req.GetCpu() != nil {
		a.err.printf("%s is watched for %v\n", req.GetName(), req.GetCpu().AsDuration())
	}
	stream, err := node.ProfileService(ctx, req)
	if err != nil {
		return err
	}
	var data []byte
	err = each(ctx, stream.Recv, func(part *bhnodev1.ProfileServiceResponse) error {
		data = append(data, part.GetData()...)
		return nil
	})
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return failure("", "interrupted; nothing was written")
	case len(data) == 0:
		return errors.New("the profile is empty")
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return failure("", "cannot write the profile: %v", err)
	}
	return a.confirm(map[string]any{"service": req.GetName(), "file": file, "bytes": len(data)}, "%s written; next: go tool pprof -top %s", file, file)
}
