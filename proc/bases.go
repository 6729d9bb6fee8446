package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// basesFile lists the directories of this node's groups, those of earlier bhnodes too
// until they are swept: each was made in the group that its bhnode was started in.
const basesFile = "groups"

// recordBases notes the directories of this life beside those that are noted already.
// Only what bears our name is ever touched.
func (h *Host) recordBases() error {
	path := filepath.Join(h.opts.RuntimeDir, basesFile)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read where groups were made: %w", err)
	}
	h.bases = h.backend.bases()
	for dir := range strings.Lines(string(data)) {
		dir = strings.TrimSuffix(dir, "\n")
		if filepath.Base(dir) == groupsName(h.instance) && filepath.IsAbs(dir) && !slices.Contains(h.bases, dir) {
			h.bases = append(h.bases, dir)
		}
	}
	return h.writeBases()
}

func (h *Host) writeBases() error {
	path := filepath.Join(h.opts.RuntimeDir, basesFile)
	if err := os.WriteFile(path+".tmp", []byte(strings.Join(append(h.bases, ""), "\n")), 0o600); err != nil {
		return fmt.Errorf("cannot write where groups are made: %w", err)
	}
	return os.Rename(path+".tmp", path)
}

// membership is the incarnation that the group of a process is of.
type membership struct {
	service     string
	incarnation uint64
}

// members returns who is in the groups of the node. What is in none of an incarnation,
// as a post_stop hook is, counts to the last one of its service.
func (h *Host) members() map[int]membership {
	found := map[int]membership{}
	add := func(dir string, m membership) {
		for _, pid := range pidsBelow(dir) {
			if _, had := found[pid]; !had {
				found[pid] = m
			}
		}
	}
	last := h.state.LastIncarnations()
	for _, base := range h.bases {
		for _, service := range subgroups(base) {
			dir := filepath.Join(base, service)
			for _, leaf := range subgroups(dir) {
				leaf = filepath.Join(dir, leaf)
				if n, ok := incarnationOf(leaf); ok {
					add(leaf, membership{service, n})
				}
			}
			add(dir, membership{service, last[service]})
		}
	}
	return found
}

// hookPids returns who is in a group of a hook.
func (h *Host) hookPids() map[int]bool {
	found := map[int]bool{}
	var walk func(dir string)
	walk = func(dir string) {
		for _, name := range subgroups(dir) {
			below := filepath.Join(dir, name)
			if !strings.HasPrefix(name, hookPrefix) {
				walk(below)
				continue
			}
			for _, pid := range pidsBelow(below) {
				found[pid] = true
			}
		}
	}
	for _, base := range h.bases {
		walk(base)
	}
	return found
}

// subgroups lists the groups below dir, none if it is gone.
func subgroups(dir string) []string {
	var names []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// sweepBases kills what is left in the groups of the node and removes them.
func (h *Host) sweepBases(ctx context.Context, spared map[string]uint64) error {
	ctx, cancel := context.WithTimeout(ctx, sweepStuck)
	defer cancel()
	own := slices.Clone(h.backend.bases())
	var errs []error
	for _, base := range h.bases {
		kept, err := sweepGroups(ctx, h.poller, base, spared)
		switch {
		case err == nil && kept:
			own = append(own, base)
		case err == nil && !slices.Contains(own, base):
			err = removeGroups(base)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.Sort(own)
	h.bases = slices.Compact(own)
	return h.writeBases()
}

// sweepGroups kills what is in the groups below base and removes them. Where no group
// tells who is in it, its members were found by what they carry. A bhnode that was
// started from within a service keeps the group of that, and those of what is spared stay.
func sweepGroups(ctx context.Context, p *poller, base string, spared map[string]uint64) (kept bool, err error) {
	above := ancestors(os.Getpid())
	var errs []error
	for _, service := range subgroups(base) {
		dir := filepath.Join(base, service)
		if spared[service] != 0 || slices.ContainsFunc(pidsBelow(dir), func(pid int) bool { return slices.Contains(above, pid) }) {
			kept = true
			continue
		}
		g := &group{leaf: dir, frozen: isFreezer(dir)}
		g.kill()
		if err := g.awaitEmpty(ctx, p); err != nil {
			errs = append(errs, fmt.Errorf("what is in %s does not die: %w", g.leaf, err))
			continue
		}
		errs = append(errs, g.remove())
	}
	return kept, errors.Join(errs...)
}
