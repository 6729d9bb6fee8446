package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proto/client"
)

// The verdicts of a check.
const (
	checkOK      = "ok"
	checkWarning = "warning"
	checkError   = "error"
)

// finding is what one check found.
type finding struct {
	Name    string `json:"name"`
	Status  string `json:"status"`
	Message string `json:"message"`
	Hint    string `json:"hint"` // what would help; "": nothing has to
}

// doctorJSON is `doctor -o json`.
type doctorJSON struct {
	Config   string             `json:"config"`
	Node     string             `json:"node"`
	Checks   []finding          `json:"checks"`
	Services []doctoredServices `json:"services"`
}

type doctoredServices struct {
	Name   string      `json:"name"`
	Limits []limitJSON `json:"limits"`
}

func newDoctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Says what this machine would make of the configuration",
		Long: `Looks at the machine with the eyes of the configuration: its directories, programs,
users and ports, the limits it sets and who would enforce them, and what bhnode
uses of the kernel. It runs nothing and leaves nothing behind. Exits 1 when
something would keep a service from running; what would only be missed is a
warning.`,
		Example: `  bhnode doctor
  bhnode doctor --config shop.yaml
  bhnode doctor -o json | jq '.checks[] | select(.status != "ok")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context()) },
	}
}

func (a *app) doctor(ctx context.Context) error {
	src, cfg, err := a.load(nil)
	if err != nil {
		return configError(err)
	}
	x := &examiner{cfg: cfg, machine: proc.Examine(), running: proc.RunningOn(cfg.Node.RuntimeDir)}
	x.found(checkOK, "configuration", fmt.Sprintf("%s: %s", src, plural(len(x.enabled()), "service")), "")
	for _, w := range cfg.Warnings {
		x.found(checkWarning, "configuration", w, "")
	}
	a.lookAtNode(ctx, x)
	x.kernel()
	x.isolation()
	x.limits()
	x.directories()
	x.programs()
	x.endpoints(ctx)
	x.openFiles()
	return a.tellFindings(src, x)
}

// lookAtNode asks the node that runs, if one does.
func (a *app) lookAtNode(ctx context.Context, x *examiner) {
	if x.running == 0 {
		x.found(checkOK, "node", "none runs on "+x.cfg.Node.RuntimeDir, "")
		return
	}
	x.found(checkOK, "node", fmt.Sprintf("bhnode runs on %s (pid %d)", x.cfg.Node.RuntimeDir, x.running), "")
	err := a.withNode(ctx, func(ctx context.Context, node *client.Client) error {
		_, err := getStatus(ctx, node)
		return err
	})
	if err != nil {
		text := err.Error()
		hint := "see its log in " + x.cfg.Logs.Dir
		if failed, ok := errors.AsType[*exitError](err); ok && failed.hint != "" {
			hint = failed.hint
		}
		x.found(checkError, "node", "it does not answer: "+text, hint)
	}
}

func (a *app) tellFindings(src configs.Source, x *examiner) error {
	if a.json() {
		out := doctorJSON{Config: src.String(), Node: x.cfg.Node.Name, Checks: x.findings, Services: []doctoredServices{}}
		for _, s := range x.enabled() {
			d := doctoredServices{Name: s.Name, Limits: []limitJSON{}}
			for _, e := range x.machine.Enforcement(&s.ServiceSpec) {
				d.Limits = append(d.Limits, limitJSON{e.Limit, e.Value, orNull(e.By), orNull(e.Why), orNull(e.Help)})
			}
			out.Services = append(out.Services, d)
		}
		if err := printJSON(a.out, out); err != nil {
			return err
		}
		return x.verdict()
	}
	for _, f := range x.findings {
		look := map[string]struct {
			style         style
			symbol, ascii string
		}{checkOK: {styleGood, "✓", "ok"}, checkWarning: {styleWorking, "!", "!!"}, checkError: {styleBad, "✗", "XX"}}[f.Status]
		a.out.printf("%s %s  %s\n", a.out.paint(look.style, fmt.Sprintf("%-2s", a.out.pick(look.symbol, look.ascii))),
			a.out.paint(styleBold, fmt.Sprintf("%-13s", f.Name)), safeText(f.Message))
		if f.Hint != "" {
			a.out.printf("   %13s  %s\n", "", a.out.paint(styleDim, a.out.pick("→ ", "-> ")+safeText(f.Hint)))
		}
	}
	return x.verdict()
}

// examiner looks at a machine with the eyes of a configuration.
type examiner struct {
	cfg      *configs.Config
	machine  *proc.Examination
	running  int // the pid of the bhnode that runs it, 0: none
	findings []finding
}

func (x *examiner) found(status, name, message, hint string) {
	x.findings = append(x.findings, finding{name, status, message, hint})
}

// verdict is the exit code.
func (x *examiner) verdict() error {
	errs := 0
	for _, f := range x.findings {
		if f.Status == checkError {
			errs++
		}
	}
	if errs == 0 {
		return nil
	}
	return &exitError{code: exitFailed, what: plural(errs, "check") + " failed"}
}

func (x *examiner) enabled() []*configs.Service {
	var on []*configs.Service
	for i := range x.cfg.Services {
		if s := &x.cfg.Services[i]; s.Enabled {
			on = append(on, s)
		}
	}
	return on
}

func (x *examiner) kernel() {
	text := "Linux " + proc.KernelRelease()
	for _, f := range proc.Features() {
		switch {
		case f.Present:
		case f.Needed:
			x.found(checkError, "kernel", fmt.Sprintf("%s has no %s: %s", text, f.Name, f.Without), "run a newer kernel")
		default:
			x.found(checkWarning, "kernel", fmt.Sprintf("%s has no %s: %s", text, f.Name, f.Without), "")
		}
	}
	if len(x.findings) == 0 || x.findings[len(x.findings)-1].Name != "kernel" {
		x.found(checkOK, "kernel", text, "")
	}
}

// isolation tells how services are held and killed.
func (x *examiner) isolation() {
	i := x.machine.Isolation()
	status, text := checkOK, fmt.Sprintf("%s: services are tracked by %s", i.Backend, i.Tracking)
	if !i.Whole {
		status = checkWarning
	}
	x.found(status, "isolation", text, "")
	for _, p := range i.Problems {
		if p.What != "" && !x.limitIsSet(p.What) {
			continue // nobody asks for it
		}
		x.found(checkWarning, "isolation", fmt.Sprintf("no %s: %s", p.What, p.Why), p.Help)
	}
}

// limitIsSet tells whether a service sets that limit; what is no limit is always wanted.
func (x *examiner) limitIsSet(key string) bool {
	known := false
	for _, s := range x.enabled() {
		l := s.Limits
		set := map[string]int{"cpu_percent": l.CPUPercent, "memory_mb": l.MemoryMB, "io_weight": l.IOWeight, "processes": l.Processes}
		n, isLimit := set[key]
		known = known || isLimit
		if n > 0 {
			return true
		}
	}
	return !known
}

func (x *examiner) limits() {
	asked := 0
	for _, s := range x.enabled() {
		for _, e := range x.machine.Enforcement(&s.ServiceSpec) {
			asked++
			if e.Why == "" {
				continue
			}
			status, text := checkWarning, fmt.Sprintf("%s of %s: %s %s", e.Limit, s.Name, "not enforced:", e.Why)
			if s.Limits.Required {
				status, text = checkError, text+"; it is required, so the service does not start"
			}
			x.found(status, "limits", text, e.Help)
		}
	}
	if asked > 0 && x.findings[len(x.findings)-1].Name != "limits" {
		x.found(checkOK, "limits", plural(asked, "limit")+" enforced", "")
	}
}

// openFilesEach is about what bhnode keeps open for one service.
const openFilesEach = 8

func (x *examiner) openFiles() {
	limit, need := proc.OpenFilesLimit(), uint64(len(x.enabled())*openFilesEach+100)
	text := fmt.Sprintf("%d allowed, about %d needed", limit, need)
	if limit < need {
		x.found(checkError, "open files", text, "raise the limit: LimitNOFILE= in the unit, or ulimit -n")
		return
	}
	x.found(checkOK, "open files", text, "")
}

// isOurs tells whether a directory belongs to who would run the node.
func isOurs(owner int) bool { return owner == os.Geteuid() }
