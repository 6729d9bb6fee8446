package proc

import (
	"fmt"
	"os"
	"runtime"

	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
)

// Machine is how busy the machine is.
type Machine struct {
	Processors        int
	Load              float64 // of the last minute
	Memory, Available uint64  // bytes
	// Pressure is the share of the last ten seconds, in percent, in which somebody had to
	// wait for it: "some" of /proc/pressure (Documentation/accounting/psi.rst). Nil: the
	// kernel does not tell.
	CPUPressure, MemoryPressure, IOPressure *float64
}

// LookAtMachine reads it; what cannot be read is zero.
func LookAtMachine() Machine {
	m := Machine{Processors: runtime.NumCPU()}
	if l, err := load.Avg(); err == nil {
		m.Load = l.Load1
	}
	if v, err := mem.VirtualMemory(); err == nil {
		m.Memory, m.Available = v.Total, v.Available
	}
	m.CPUPressure, m.MemoryPressure, m.IOPressure = pressure("cpu"), pressure("memory"), pressure("io")
	return m
}

func pressure(of string) *float64 {
	text, err := os.ReadFile("/proc/pressure/" + of)
	if err != nil {
		return nil
	}
	return pressureOf(string(text))
}

// pressureOf reads "some avg10=0.12 avg60=…".
func pressureOf(text string) *float64 {
	var share float64
	if _, err := fmt.Sscanf(text, "some avg10=%f", &share); err != nil {
		return nil
	}
	return &share
}
