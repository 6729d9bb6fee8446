package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/supervision"
)

// validateJSON is `config validate -o json`.
type validateJSON struct {
	File        string        `json:"file"`
	OK          bool          `json:"ok"`
	Services    int           `json:"services"`
	Supervisors int           `json:"supervisors"`
	Warnings    []string      `json:"warnings"`
	Errors      []mistakeJSON `json:"errors"`
}

type mistakeJSON struct {
	File    string  `json:"file"`
	Line    *int    `json:"line"`
	Column  *int    `json:"column"`
	Path    *string `json:"path"`
	Message string  `json:"message"`
	Hint    *string `json:"hint"`
}

func newConfigCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Checks, shows, writes or goes back to a configuration",
		Example: `  bhnode config init && bhnode config validate
  bhnode config show --config /etc/bhnode/blackhole.yaml`,
	}
	asGroup(cmd)
	cmd.AddCommand(newConfigValidateCommand(a), newConfigShowCommand(a), newConfigInitCommand(a), newConfigSchemaCommand(a),
		newConfigHistoryCommand(a), newConfigDiffCommand(a), newConfigRollbackCommand(a))
	return cmd
}

func newConfigValidateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Checks a configuration and names all its mistakes",
		Long: `Checks a configuration and names all its mistakes at once, with file, line and
column. It starts nothing, and exits 2 when there are any.`,
		Example: `  bhnode config validate
  bhnode config validate blackhole.yaml
  bhnode config validate -o json | jq '.errors[].path'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.validate(args) },
	}
}

// load reads the configuration of the command line, or the file that is named.
func (a *app) load(args []string) (configs.Source, *configs.Config, error) {
	flag := a.configFlag
	if len(args) == 1 {
		if flag != "" {
			return configs.Source{}, nil, usageError("name the file once", "--config and FILE exclude each other")
		}
		flag = args[0]
	}
	src, err := configs.Find(flag, a.env)
	if err != nil {
		return src, nil, configError(err)
	}
	cfg, err := configs.Load(src, a.getenv)
	return src, cfg, err
}

func (a *app) validate(args []string) error {
	src, cfg, err := a.load(args)
	if err != nil {
		mistakes, ok := errors.AsType[configs.Errors](err)
		if ok && a.json() {
			out := validateJSON{File: src.String(), Warnings: []string{}, Errors: mistakesToJSON(mistakes)}
			if err := printJSON(a.out, out); err != nil {
				return err
			}
		}
		return configError(err)
	}
	a.warn(cfg)
	enabled := 0
	for _, s := range cfg.Services {
		if s.Enabled {
			enabled++
		}
	}
	under := len(supervisorNames(cfg.Tree))
	if a.json() {
		return printJSON(a.out, validateJSON{
			File: src.String(), OK: true, Services: enabled, Supervisors: under,
			Warnings: append([]string{}, cfg.Warnings...), Errors: []mistakeJSON{},
		})
	}
	what := []string{plural(enabled, "service"), plural(under, "supervisor")}
	if off := len(cfg.Services) - enabled; off > 0 {
		what = append(what, fmt.Sprintf("%d disabled", off))
	}
	a.out.printf("%s: ok (%s)\n", safeText(src.String()), strings.Join(what, ", "))
	return nil
}

// warn says on standard error what a configuration asks for in vain.
func (a *app) warn(cfg *configs.Config) {
	for _, w := range cfg.Warnings {
		a.err.printf("%s %s\n", a.err.paint(styleWorking, "warning:"), safeLines(w))
	}
}

func mistakesToJSON(mistakes configs.Errors) []mistakeJSON {
	out := make([]mistakeJSON, len(mistakes))
	for i, m := range mistakes {
		out[i] = mistakeJSON{
			File: m.File, Line: orNull(m.Line), Column: orNull(m.Column),
			Path: orNull(m.Path), Message: m.Message, Hint: orNull(m.Hint),
		}
	}
	return out
}

// supervisorNames are the names of a supervisor and of those below it.
func supervisorNames(spec supervision.SupervisorSpec) []string {
	names := []string{string(spec.ID)}
	for _, child := range spec.Children {
		if child.Supervisor != nil {
			names = append(names, supervisorNames(*child.Supervisor)...)
		}
	}
	return names
}

// originJSON is where a value comes from.
type originJSON struct {
	Path  string `json:"path"`
	Value string `json:"value"`
	From  string `json:"from"`
}

func newConfigShowCommand(a *app) *cobra.Command {
	origin := false
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Shows the whole configuration, expanded and with its defaults",
		Long: `Shows the whole configuration as it takes effect: variables expanded, defaults
filled in, secrets shown as ***. With --origin a line for each key says where its
value comes from: the place in the file, or the default.`,
		Example: `  bhnode config show
  bhnode config show --origin | grep ledger
  bhnode config show -o json | jq '.services.ledger.restart'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			src, cfg, err := a.load(args)
			if err != nil {
				return configError(err)
			}
			a.warn(cfg)
			if origin {
				return a.showOrigins(cfg)
			}
			text := cfg.Show()
			if a.json() {
				doc, err := yaml.YAMLToJSON([]byte(text))
				if err != nil {
					return fmt.Errorf("cannot show %s as JSON: %w", src, err)
				}
				a.out.printf("%s\n", strings.TrimRight(string(doc), "\n"))
				return nil
			}
			a.out.printf("%s\n", strings.TrimRight(text, "\n"))
			return nil
		},
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "a line for each key, with where its value comes from")
	return cmd
}

func (a *app) showOrigins(cfg *configs.Config) error {
	all := cfg.Origins()
	if a.json() {
		out := make([]originJSON, len(all))
		for i, o := range all {
			out[i] = originJSON(o)
		}
		return printJSON(a.out, out)
	}
	rows := make([][]cell, len(all))
	for i, o := range all {
		from := cell{o.From, styleDim}
		if o.From != "default" {
			from.style = styleGood
		}
		rows[i] = []cell{plain(o.Path), from, plain(o.Value)}
	}
	a.out.lines(a.out.columns(rows))
	return nil
}

func newConfigSchemaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Prints the JSON Schema of the configuration, for editors",
		Long: `Prints the JSON Schema of the configuration. An editor with a YAML language server
completes and checks with it; the first line of the file names it:
  # yaml-language-server: $schema=blackhole.schema.json`,
		Example: `  bhnode config schema > blackhole.schema.json
  bhnode config schema | jq '."$defs".service.properties | keys'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.out.printf("%s", configs.Schema())
			return nil
		},
	}
}

func newConfigInitCommand(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Writes the built-in configuration to a file, to start from",
		Example: `  bhnode config init                 # ./blackhole.yaml
  bhnode config init node.yaml
  bhnode config init --force         # over what is there`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := "blackhole.yaml"
			if len(args) == 1 {
				file = args[0]
			}
			if err := writeNew(file, configs.Default(), force); err != nil {
				return err
			}
			return a.confirm(map[string]any{"file": file}, "%s written; next: bhnode config validate %s", file, file)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file")
	return cmd
}

// writeNew writes a file that must not be there, unless forced.
func writeNew(name string, data []byte, force bool) error {
	mode := os.O_EXCL
	if force {
		mode = os.O_TRUNC
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|mode, 0o644) //nolint:gosec // holds no secrets
	if errors.Is(err, fs.ErrExist) {
		return failure("--force overwrites it", "%s is there already", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
