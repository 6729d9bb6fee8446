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

// sweepBases kills what is left in the groups of the node and removes them.
func (h *Host) sweepBases(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepStuck)
	defer cancel()
	own := h.backend.bases()
	var errs []error
	for _, base := range h.bases {
		err := sweepGroups(ctx, h.poller, base)
		if err == nil && !slices.Contains(own, base) {
			err = removeGroups(base)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	h.bases = own
	return h.writeBases()
}

// sweepGroups kills what is in the groups below base and removes them. Where no group
// of cgroup v2 tells who is in it, its members were found by what they carry.
func sweepGroups(ctx context.Context, p *poller, base string) error {
	services, err := os.ReadDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, s := range services {
		if !s.IsDir() {
			continue
		}
		dir := filepath.Join(base, s.Name())
		g := &group{leaf: dir, frozen: isFreezer(dir)}
		g.kill()
		if err := g.awaitEmpty(ctx, p); err != nil {
			errs = append(errs, fmt.Errorf("what is in %s does not die: %w", g.leaf, err))
			continue
		}
		errs = append(errs, g.remove())
	}
	return errors.Join(errs...)
}
