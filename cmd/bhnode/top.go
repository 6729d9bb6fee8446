package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// topJSON is `top -o json`.
type topJSON struct {
	Node     *string          `json:"node"`
	Time     string           `json:"time"`
	Machine  machineJSON      `json:"machine"`
	Services []topServiceJSON `json:"services"`
}

type topServiceJSON struct {
	serviceJSON
	MemoryLimit *uint64  `json:"memory_limit_bytes"`
	CPULimit    *uint32  `json:"cpu_limit_percent"`
	Processes   *uint32  `json:"processes"`
	ReadRate    *float64 `json:"io_read_bytes_per_second"`
	WriteRate   *float64 `json:"io_write_bytes_per_second"`
	InWindow    uint32   `json:"restarts_in_window"`
	Limit       *uint32  `json:"restart_limit"`
}

type machineJSON struct {
	Processors     uint32   `json:"processors"`
	Load           float64  `json:"load"`
	Memory         uint64   `json:"memory_bytes"`
	Available      uint64   `json:"memory_available_bytes"`
	CPUPressure    *float64 `json:"cpu_pressure_percent"`
	MemoryPressure *float64 `json:"memory_pressure_percent"`
	IOPressure     *float64 `json:"io_pressure_percent"`
}

func newTopCommand(a *app) *cobra.Command {
	once := false
	interval := time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Shows live what services use, full screen",
		Long: `Shows live, full screen, what services use: processors, memory against its limit,
threads, files, disks, restarts, health checks; below that the log or the events of the
one that is selected. Start, stop and restart it from there: who goes with it is shown
first. "?" lists the keys. Without a terminal, or with --once, it prints one picture.`,
		Example: `  bhnode top
  bhnode top --once          # one picture, for a script or a ticket
  bhnode top -o json --interval 5s   # one JSON object a line, until interrupted
  bhnode top --once -o json | jq '.services[] | select(.cpu_percent > 50).name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < useInterval {
				return usageError(fmt.Sprintf("%v is the least", useInterval), "--interval %v is too short", interval)
			}
			if a.json() || once || !a.out.tty {
				return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
					return a.printTop(ctx, node, interval, once || !a.json())
				})
			}
			return a.top(cmd.Context(), interval)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print one picture and end")
	cmd.Flags().DurationVar(&interval, "interval", interval, "`time` between two pictures")
	return cmd
}

// useInterval is how often at most a node looks at what its services use.
const useInterval = 500 * time.Millisecond

func watchUse(ctx context.Context, node *client.Client, interval time.Duration) (interface {
	Recv() (*bhnodev1.WatchStatusResponse, error)
}, error,
) {
	return node.WatchStatus(ctx, &bhnodev1.WatchStatusRequest{Interval: durationpb.New(interval), Use: true})
}

// errEnough ends a stream of which enough was seen.
var errEnough = errors.New("enough")

// printTop prints pictures; the first that is shown is the second that comes, as a share of
// a processor, and a rate, takes two.
func (a *app) printTop(ctx context.Context, node *client.Client, interval time.Duration, once bool) error {
	stream, err := watchUse(ctx, node, interval)
	if err != nil {
		return err
	}
	var use useHistory
	err = each(ctx, stream.Recv, func(now *bhnodev1.WatchStatusResponse) error {
		use.add(a.now(), now)
		switch {
		case use.looks < 2:
			return nil
		case a.json():
			err = printLine(a.out, topToJSON(a.now(), now, &use))
		default:
			width, _ := a.out.size()
			v := topView{screen: a.out, width: width, now: a.now(), at: now, use: &use}
			a.out.lines(v.once())
		}
		if err == nil && once {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func topToJSON(at time.Time, now *bhnodev1.WatchStatusResponse, use *useHistory) topJSON {
	m := now.GetMachine()
	out := topJSON{
		Node: orNull(now.GetStatus().GetNode()), Time: at.Format(time.RFC3339Nano), Services: []topServiceJSON{},
		Machine: machineJSON{
			Processors: m.GetProcessors(), Load: m.GetLoad(), Memory: m.GetMemoryBytes(), Available: m.GetMemoryAvailableBytes(),
			CPUPressure: m.CpuPressure, MemoryPressure: m.MemoryPressure, IOPressure: m.IoPressure,
		},
	}
	for i, s := range statusToJSON("", now.GetStatus().GetServices()).Services {
		of := now.GetStatus().GetServices()[i]
		row := topServiceJSON{
			serviceJSON: s, MemoryLimit: of.MemoryLimitBytes, CPULimit: of.CpuLimitPercent, Processes: orNull(of.GetProcesses()),
			InWindow: of.GetRestartsInWindow(), Limit: orNull(of.GetRestartLimit()),
		}
		if r := use.of(of.GetName()); r.rated {
			row.ReadRate, row.WriteRate = &r.read, &r.written
		}
		out.Services = append(out.Services, row)
	}
	return out
}

// top is the full screen.
func (a *app) top(ctx context.Context, interval time.Duration) error {
	profile := colorprofile.ASCII
	if a.out.colour {
		profile = colorprofile.ANSI
	}
	return a.withNode(ctx, func(ctx context.Context, node *client.Client) error {
		m := newTopModel(ctx, a, node, interval)
		defer m.leave()
		p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(a.stdin), tea.WithOutput(a.stdout),
			tea.WithColorProfile(profile), tea.WithoutSignalHandler())
		final, err := p.Run()
		if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
			return nil // interrupted
		}
		if end, ok := final.(*topModel); ok && err == nil {
			return end.failed
		}
		return err
	})
}
