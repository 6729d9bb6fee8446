package main

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/blackhole/bhnode/configs"
)

func (a *app) tellFindings(src configs.Source, x *examiner) error {
	if a.json() {
		if err := printJSON(a.out, x.toJSON(src)); err != nil {
			return err
		}
		return x.verdict()
	}
	for _, f := range x.findings {
		a.tellFinding(f)
	}
	return x.verdict()
}

func (x *examiner) toJSON(src configs.Source) doctorJSON {
	out := doctorJSON{Config: src.String(), Node: x.cfg.Node.Name, Checks: x.findings, Services: []doctoredServices{}}
	for _, s := range x.enabled() {
		d := doctoredServices{Name: s.Name, Limits: []limitJSON{}}
		for _, e := range x.machine.Enforcement(&s.ServiceSpec) {
			d.Limits = append(d.Limits, limitJSON{e.Limit, e.Value, orNull(e.By), orNull(e.Why), orNull(e.Help)})
		}
		out.Services = append(out.Services, d)
	}
	return out
}

// findingIndent is where the text of a finding begins: after its symbol and its name.
const findingIndent = 18

// tellFinding prints what one check found, and below it what would help. It goes on in
// the next line where the terminal ends: a path cut off would help nobody.
func (a *app) tellFinding(f finding) {
	look := map[string]struct {
		style         style
		symbol, ascii string
	}{checkOK: {styleGood, "✓", "ok"}, checkWarning: {styleWorking, "!", "!!"}, checkError: {styleBad, "✗", "XX"}}[f.Status]
	symbol := a.out.pick(look.symbol, look.ascii)
	symbol += strings.Repeat(" ", max(0, 3-ansi.StringWidth(symbol)))
	head := a.out.paint(look.style, symbol) + a.out.paint(styleBold, fmt.Sprintf("%-*s", findingIndent-5, f.Name)) + "  "
	indent := strings.Repeat(" ", findingIndent)
	for _, line := range a.out.wrap(safeText(f.Message), findingIndent) {
		a.out.printf("%s%s\n", head, line)
		head = indent
	}
	if f.Hint == "" {
		return
	}
	arrow := a.out.pick("→ ", "-> ")
	for _, line := range a.out.wrap(safeText(f.Hint), findingIndent+ansi.StringWidth(arrow)) {
		a.out.printf("%s%s\n", indent, a.out.paint(styleDim, arrow+line))
		arrow = strings.Repeat(" ", ansi.StringWidth(arrow))
	}
}
