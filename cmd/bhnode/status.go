package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	rpcstatus "google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

func newStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME]",
		Short: "Shows a row a service, or all about one",
		Long: `Shows a row a service, or all about one: what it does, what it uses and what it said
last. Of a supervisor it shows its strategy, its restarts and its children; -o json
lists the services below it.`,
		Example: `  bhnode status              # a row a service
  bhnode status ledger       # all about one, with its last lines
  bhnode status -o json | jq '.services[] | select(.state != "running")'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeNames(1, services|supervisors),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				return a.status(ctx, node, args)
			})
		},
	}
}

func (a *app) status(ctx context.Context, node *client.Client, names []string) error {
	st, err := getStatus(ctx, node, names...)
	if len(names) == 1 && rpcstatus.Code(err) == codes.NotFound {
		if found, failed := a.supervisorStatus(ctx, node, names[0]); found || failed != nil {
			return failed
		}
	}
	switch {
	case err != nil:
		return err
	case a.json():
		return printJSON(a.out, statusToJSON(st.GetNode(), st.GetServices()))
	case len(names) == 1 && len(st.GetServices()) == 1:
		all, err := getStatus(ctx, node)
		if err != nil {
			return err
		}
		a.detail(st.GetServices()[0], all.GetServices(), st.GetIsolation())
		return nil
	}
	a.statusTable(st.GetServices())
	a.tellIsolation(st.GetIsolation())
	a.next(st.GetServices())
	return nil
}

// tellIsolation says where the kernel does not tell what is of a service, and which
// limits that services have are not enforced.
func (a *app) tellIsolation(i *bhnodev1.Isolation) {
	note := func(text string) {
		a.err.printf("%s %s\n", a.err.paint(styleWorking, "note:"), safeText(text+` ("bhnode doctor" says why)`))
	}
	if i.GetBackend() != "" && !i.GetWhole() {
		note("services are tracked by " + i.GetTracking())
	}
	if limits := i.GetUnenforced(); len(limits) > 0 {
		note("not enforced: " + strings.Join(limits, ", "))
	}
}

func getStatus(ctx context.Context, node *client.Client, names ...string) (*bhnodev1.GetStatusResponse, error) {
	return query(ctx, func(ctx context.Context) (*bhnodev1.GetStatusResponse, error) {
		return node.GetStatus(ctx, &bhnodev1.GetStatusRequest{Names: names})
	})
}

// statusTable prints a row a service. Use is shown once something measures it.
func (a *app) statusTable(services []*bhnodev1.Service) {
	now := a.now()
	header := []string{"NAME", "STATE", "HEALTH", "PID", "RESTARTS", "UP", "", "", "DETAIL"}
	measured := slices.ContainsFunc(services, func(s *bhnodev1.Service) bool {
		return s.CpuPercent != nil || s.MemoryRssBytes != nil
	})
	if measured {
		header[6], header[7] = "CPU", "MEMORY"
	}
	rows := make([][]cell, len(services))
	for i, s := range services {
		var cpu, memory cell
		if measured {
			cpu, memory = orDash(cpuText(s)), orDash(memoryText(s))
		}
		rows[i] = []cell{
			plain(s.GetName()), a.out.state(s.GetState()), a.out.health(s.GetHealth()),
			orDash(pidText(s.Pid)), plain(restartsText(now, s)), orDash(spanOf(s.GetUptime())),
			cpu, memory, plain(detailText(now, s)),
		}
	}
	a.out.table(header, rows)
}

func pidText(pid *int32) string {
	if pid == nil {
		return ""
	}
	return fmt.Sprint(*pid)
}

func cpuText(s *bhnodev1.Service) string {
	if s.CpuPercent == nil {
		return ""
	}
	return fmt.Sprintf("%.1f%%", s.GetCpuPercent())
}

func memoryText(s *bhnodev1.Service) string {
	if s.MemoryRssBytes == nil {
		return ""
	}
	return size(s.GetMemoryRssBytes())
}

// restartsText is the number of restarts and when the last end was.
func restartsText(now time.Time, s *bhnodev1.Service) string {
	text := fmt.Sprint(s.GetRestarts())
	if when := ago(now, s.GetExit().GetTime()); s.GetRestarts() > 0 && when != "" {
		text += " (" + when + ")"
	}
	return text
}

// detailText says what else there is to know about a service that is not simply
// running.
func detailText(now time.Time, s *bhnodev1.Service) string {
	var parts []string
	switch {
	case s.GetMessage() != "":
		parts = append(parts, s.GetMessage())
	case s.GetState() == bhnodev1.ServiceState_SERVICE_STATE_RUNNING:
	case s.GetReason() == bhnodev1.Reason_REASON_HELD && !s.GetHeld(): // it was, and is starting
	case s.GetReason() != bhnodev1.Reason_REASON_UNSPECIFIED:
		parts = append(parts, reasonText(s.GetReason()))
	}
	if s.GetState() == bhnodev1.ServiceState_SERVICE_STATE_BACKOFF && s.GetNextStart() != nil {
		parts = append(parts, "next start in "+span(s.GetNextStart().AsTime().Sub(now)))
	}
	if s.GetHeld() && s.GetReason() != bhnodev1.Reason_REASON_HELD {
		parts = append(parts, "held")
	}
	return strings.Join(parts, ", ")
}

// good says that a service is as one that is wanted should be.
func good(s *bhnodev1.Service) bool {
	return s.GetHealth() == bhnodev1.Health_HEALTH_HEALTHY || s.GetState() == bhnodev1.ServiceState_SERVICE_STATE_COMPLETED
}

// gravity orders the states by how likely they are the cause of others.
var gravity = []bhnodev1.ServiceState{
	bhnodev1.ServiceState_SERVICE_STATE_FAILED,
	bhnodev1.ServiceState_SERVICE_STATE_STUCK,
	bhnodev1.ServiceState_SERVICE_STATE_BACKOFF,
	bhnodev1.ServiceState_SERVICE_STATE_UNHEALTHY,
	bhnodev1.ServiceState_SERVICE_STATE_STARTING,
}

// worst returns the wanted services that are not healthy, and of them the one to
// look at first.
func worst(services []*bhnodev1.Service) (bad []*bhnodev1.Service, first *bhnodev1.Service) {
	for _, s := range services {
		if s.GetWanted() && !good(s) {
			bad = append(bad, s)
		}
	}
	for _, state := range gravity {
		for _, s := range bad {
			if s.GetState() == state {
				return bad, s
			}
		}
	}
	if len(bad) > 0 {
		return bad, bad[0]
	}
	return nil, nil
}

// next says on standard error what to look at when something is wrong.
func (a *app) next(services []*bhnodev1.Service) {
	bad, first := worst(services)
	if first == nil {
		return
	}
	wanted := 0
	for _, s := range services {
		if s.GetWanted() {
			wanted++
		}
	}
	a.err.printf("%s\n", a.err.paint(styleDim,
		fmt.Sprintf("%d of %d not healthy. Next: bhnode status %s", len(bad), wanted, safeText(first.GetName()))))
}
