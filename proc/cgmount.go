package proc

import (
	"path/filepath"
	"slices"
	"strings"
)

// hierarchy is a mounted tree of groups and our place in it.
type hierarchy struct {
	mount    string
	own      string // directory of the group that bhnode is in
	readOnly bool
}

// hierarchies are the trees of groups that this process can see.
type hierarchies struct {
	unified *hierarchy            // cgroup v2, nil: not mounted
	v1      map[string]*hierarchy // by controller
}

// parseHierarchies puts /proc/self/mountinfo and /proc/self/cgroup together. A group
// above what is mounted here cannot be reached and is left out.
func parseHierarchies(mountinfo, cgroup string) hierarchies {
	all := hierarchies{v1: map[string]*hierarchy{}}
	unified, byController := parseOwnGroups(cgroup)
	for line := range strings.Lines(mountinfo) {
		m, ok := parseMount(line)
		switch {
		case !ok:
		case m.kind == "cgroup2" && all.unified == nil && unified != "":
			all.unified = m.place(unified)
		case m.kind == "cgroup":
			for _, controller := range m.options {
				group, ours := byController[controller]
				if h := m.place(group); ours && h != nil && all.v1[controller] == nil {
					all.v1[controller] = h
				}
			}
		}
	}
	return all
}

// mountLine is one line of /proc/self/mountinfo.
type mountLine struct {
	root, dir, kind string
	readOnly        bool
	options         []string // of the file system
}

func parseMount(line string) (m mountLine, ok bool) {
	left, right, ok := strings.Cut(line, " - ")
	f, super := strings.Fields(left), strings.Fields(right)
	if !ok || len(f) < 6 || len(super) < 3 {
		return mountLine{}, false
	}
	m = mountLine{root: unescapeMount(f[3]), dir: unescapeMount(f[4]), kind: super[0], options: strings.Split(super[2], ",")}
	m.readOnly = slices.Contains(strings.Split(f[5], ","), "ro") || slices.Contains(m.options, "ro")
	return m, true
}

// place finds a group below the mount, nil if it is not there.
func (m mountLine) place(group string) *hierarchy {
	below, err := filepath.Rel(m.root, group)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return nil
	}
	return &hierarchy{mount: m.dir, own: filepath.Join(m.dir, below), readOnly: m.readOnly}
}

// parseOwnGroups reads /proc/self/cgroup: "4:memory:/a" or "0::/b" per line.
func parseOwnGroups(text string) (unified string, byController map[string]string) {
	byController = map[string]string{}
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if f[0] == "0" && f[1] == "" {
			unified = f[2]
			continue
		}
		for controller := range strings.SplitSeq(f[1], ",") {
			byController[controller] = f[2]
		}
	}
	return unified, byController
}

// unescapeMount undoes what mountinfo does to blanks and backslashes.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
