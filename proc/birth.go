package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc/shim"
)

// aboveHardLimit says why n open files cannot be had without being root, "" if they can.
func aboveHardLimit(n int) string {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil || uint64(n) <= own.Max { //nolint:gosec // n > 0
		return ""
	}
	return fmt.Sprintf("bhnode's own hard limit is %d", own.Max)
}

// ownNice returns bhnode's own niceness.
func ownNice() int {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return 0
	}
	return 20 - raw // the system call never returns a negative number
}

// ownOOMScoreAdj returns by how much bhnode is likelier than others to be killed for
// want of memory.
func ownOOMScoreAdj() int {
	data, err := readProc(os.Getpid(), "oom_score_adj")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return n
}

// birthOf returns what s asks for and this machine can give, nil where nothing is.
func (h *Host) birthOf(s *ServiceSpec) (*shim.Birth, error) {
	given := map[string]bool{}
	for _, e := range birth(s) {
		given[e.Limit] = e.By != ""
	}
	b := &shim.Birth{}
	if given["open_files"] {
		b.OpenFiles = s.Limits.OpenFiles
	}
	if given["nice"] {
		b.Nice = s.Nice
	}
	if given["oom_score_adj"] {
		b.OOMScoreAdj = s.OOMScoreAdj
	}
	if s.Umask != nil {
		mask := int(s.Umask.Perm())
		b.Umask = &mask
	}
	b.NoNewPrivs = s.NoNewPrivileges
	if given["capabilities"] {
		numbers, err := capabilityNumbers(*s.Capabilities)
		if err != nil {
			return nil, hopeless(err)
		}
		b.Capabilities = &numbers
	}
	if *b == (shim.Birth{}) {
		return nil, nil
	}
	return b, nil
}
