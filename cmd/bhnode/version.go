package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version string

// versionJSON is `version -o json`.
type versionJSON struct {
	Version  string  `json:"version"`
	Commit   *string `json:"commit"`
	Go       string  `json:"go"`
	Platform string  `json:"platform"`
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Says which bhnode this is",
		Example: `  bhnode version
  bhnode version -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := ownVersion()
			if a.json() {
				return printJSON(a.out, v)
			}
			a.out.printf("bhnode %s (%s, %s", v.Version, v.Go, v.Platform)
			if v.Commit != nil {
				a.out.printf(", commit %.12s", *v.Commit)
			}
			a.out.printf(")\n")
			return nil
		},
	}
}

// ownVersion is what the linker or else the module system says.
func ownVersion() versionJSON {
	v := versionJSON{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		v.Version = cmp.Or(v.Version, info.Main.Version)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = orNull(s.Value)
			}
		}
	}
	v.Version = cmp.Or(v.Version, "(devel)")
	return v
}
