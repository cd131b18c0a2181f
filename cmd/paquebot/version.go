package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is the version of the next or current release; the commit is added
// from the build's own record.
const release = "0.1.0"

// VersionCmd prints the version.
type VersionCmd struct{}

// Help is shown below the usage.
func (VersionCmd) Help() string {
	return `Examples:
  paquebot version
  paquebot --version
  paquebot version --json`
}

// Run prints one line, or a document with --json.
func (VersionCmd) Run(g *Globals) error {
	v := versionString()
	if g.JSON {
		return g.printJSON(map[string]string{
			"schema": "paquebot.version/1", "version": v, "go": runtime.Version(),
			"os": runtime.GOOS, "arch": runtime.GOARCH,
		})
	}
	fmt.Fprintf(g.Stdout, "paquebot %s (%s %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

func versionString() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "+" + s.Value[:12]
		}
	}
	return release
}
