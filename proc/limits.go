package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// setting is one value for one file of a group.
type setting struct{ controller, file, value string }

const (
	cpuPeriod  = 100_000 // µs
	bfqHighest = 1000    // weight
)

// settings2 turns limits into what cgroup v2 is told.
func settings2(l Limits) []setting {
	var all []setting
	if l.CPUPercent > 0 {
		all = append(all, setting{ctlCPU, "cpu.max", fmt.Sprintf("%d %d", l.CPUPercent*cpuPeriod/100, cpuPeriod)})
	}
	if l.MemoryMB > 0 {
		all = append(all,
			setting{ctlMemory, "memory.max", strconv.Itoa(l.MemoryMB << 20)},
			setting{ctlMemory, "memory.swap.max", "0"},
			setting{ctlMemory, "memory.oom.group", "1"})
	}
	if l.IOWeight > 0 {
		all = append(all,
			setting{ctlIO, "io.weight", "default " + strconv.Itoa(l.IOWeight)},
			setting{ctlIO, "io.bfq.weight", strconv.Itoa(min(l.IOWeight, bfqHighest))})
	}
	if l.Processes > 0 {
		all = append(all, setting{ctlPids, "pids.max", strconv.Itoa(l.Processes)})
	}
	return all
}

// optional are files that not every kernel has; those that matter are reported missing
// before anything is started.
var optional = map[string]bool{
	"memory.swap.max": true, "memory.oom.group": true, "io.weight": true, "io.bfq.weight": true,
	"blkio.bfq.weight": true,
}

// heedless says why weights have no effect on any disk, nil if they have.
func heedless(sysBlock, rootGroup string) *Problem {
	schedulers, _ := filepath.Glob(filepath.Join(sysBlock, "*/queue/scheduler")) // the pattern is well formed
	for _, path := range schedulers {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), "[bfq]") {
			return nil
		}
	}
	data, err := os.ReadFile(filepath.Join(rootGroup, "io.cost.qos"))
	if err == nil && strings.Contains(string(data), "enable=1") {
		return nil
	}
	return &Problem{
		What: "io_weight",
		Why:  "not effective: no disk has the scheduler bfq, which heeds weights",
		Help: "echo bfq > /sys/block/DISK/queue/scheduler",
	}
}
