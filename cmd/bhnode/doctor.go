package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proc"
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
	if a.remote != (remoteFlags{}) {
		return usageError("run it there", "it looks at this machine, --address is about another one")
	}
	src, cfg, err := a.load(nil)
	if err != nil {
		return configError(err)
	}
	if a.socketFlag, err = a.socket(); err != nil { // whatever $BHNODE_ADDRESS says
		return err
	}
	x := &examiner{cfg: cfg}
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
	x.certificates(a.now())
	x.openFiles()
	x.tasks()
	return a.tellFindings(src, x)
}

// examiner looks at a machine with the eyes of a configuration.
type examiner struct {
	cfg      *configs.Config
	machine  machine
	running  bool // a node does, with this runtime_dir
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

// isolation tells how services are held and killed. What a limit lacks is told with it.
func (x *examiner) isolation() {
	i := x.machine.Isolation()
	if i.Backend == "" {
		return // the node does not tell
	}
	status, text := checkOK, fmt.Sprintf("%s: services are tracked by %s", i.Backend, i.Tracking)
	if !i.Whole {
		status = checkWarning
	}
	x.found(status, "isolation", text, "")
	for _, p := range i.Problems {
		if !proc.IsLimit(p.What) {
			x.found(checkWarning, "isolation", fmt.Sprintf("no %s: %s", p.What, p.Why), p.Help)
		}
	}
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

// tasksEach is how many processes and threads a service is reckoned with that sets no
// limit; bhnode itself needs about tasksOwn.
const (
	tasksEach = 10
	tasksOwn  = 50
)

// tasks looks whether the machine has room for the processes of all services.
func (x *examiner) tasks() {
	need := uint64(tasksOwn)
	for _, s := range x.enabled() {
		need += uint64(max(s.Limits.Processes, tasksEach))
	}
	limit, by := proc.TasksLimit()
	if limit < need {
		x.found(checkWarning, "processes", fmt.Sprintf("%d allowed (%s), about %d needed", limit, by, need), "raise "+by)
		return
	}
	x.found(checkOK, "processes", fmt.Sprintf("%d allowed, about %d needed", limit, need), "")
}

// isOurs tells whether a directory belongs to who would run the node.
func isOurs(owner int) bool { return owner == os.Geteuid() }
