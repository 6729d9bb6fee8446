package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// healthJSON is `health -o json`.
type healthJSON struct {
	Node     *string             `json:"node"`
	Healthy  bool                `json:"healthy"`
	Services []serviceHealthJSON `json:"services"`
}

type serviceHealthJSON struct {
	Name         string           `json:"name"`
	State        *string          `json:"state"`
	Health       *string          `json:"health"`
	Wanted       bool             `json:"wanted"`
	HealthDetail healthDetailJSON `json:"health_detail"`
}

func newHealthCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "health [NAME]",
		Short: "Says whether all that should run is healthy",
		Long: `Says whether all that should run is healthy, and exits 1 when it is not. A
completed service counts as healthy; one that is disabled or held counts only
when it is named.`,
		Example: `  bhnode health              # all wanted services
  bhnode health ledger       # one of them
  until bhnode health >/dev/null 2>&1; do sleep 1; done`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeNames(1, services),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				return a.health(ctx, node, args)
			})
		},
	}
}

func (a *app) health(ctx context.Context, node *client.Client, names []string) error {
	st, err := getStatus(ctx, node, names...)
	if err != nil {
		return err
	}
	var bad []string
	for _, s := range st.GetServices() {
		if !good(s) && (s.GetWanted() || len(names) > 0) {
			bad = append(bad, s.GetName())
		}
	}
	if a.json() {
		err = printJSON(a.out, healthOf(st, len(bad) == 0))
	} else {
		a.healthTable(st.GetServices())
	}
	if err != nil || len(bad) == 0 {
		return err
	}
	first := bad[0]
	if _, s := worst(st.GetServices()); s != nil {
		first = s.GetName()
	}
	verb := "are"
	if len(bad) == 1 {
		verb = "is"
	}
	return failure(fmt.Sprintf(`"bhnode status %s" tells more`, first), "%s %s not healthy", strings.Join(bad, ", "), verb)
}

func healthOf(st *bhnodev1.GetStatusResponse, healthy bool) healthJSON {
	out := healthJSON{Node: orNull(st.GetNode()), Healthy: healthy, Services: make([]serviceHealthJSON, len(st.GetServices()))}
	for i, s := range st.GetServices() {
		out.Services[i] = serviceHealthJSON{
			Name:         s.GetName(),
			State:        orNull(stateWord(s.GetState())),
			Health:       orNull(healthWord(s.GetHealth())),
			Wanted:       s.GetWanted(),
			HealthDetail: healthToJSON(s.GetHealthDetail()),
		}
	}
	return out
}

func (a *app) healthTable(services []*bhnodev1.Service) {
	now := a.now()
	rows := make([][]cell, len(services))
	for i, s := range services {
		d := s.GetHealthDetail()
		took := ""
		if d.GetLatency() != nil {
			took = latency(d.GetLatency().AsDuration())
		}
		fails := ""
		if d != nil {
			fails = fmt.Sprint(d.GetFailures())
		}
		rows[i] = []cell{
			plain(s.GetName()), a.out.health(s.GetHealth()), a.out.state(s.GetState()),
			orDash(ago(now, d.GetLastCheck())), orDash(took), orDash(fails), plain(d.GetLastError()),
		}
	}
	a.out.table([]string{"NAME", "HEALTH", "STATE", "CHECKED", "TOOK", "FAILURES", "ERROR"}, rows)
}
