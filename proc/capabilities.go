package proc

import (
	"fmt"
	"slices"
	"strings"
)

// capabilityNames are the capabilities of Linux, each at its number.
var capabilityNames = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE",
	"CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
	"CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
	"CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// CapabilityNames returns the names of the capabilities of Linux (capabilities(7)).
func CapabilityNames() []string { return slices.Clone(capabilityNames) }

// capabilityNumbers finds capabilities by their names, written as the kernel does or
// in small letters, with CAP_ or without.
func capabilityNumbers(names []string) ([]int, error) {
	numbers := []int{}
	for _, name := range names {
		full := "CAP_" + strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		n := slices.Index(capabilityNames, full)
		if n < 0 {
			return nil, fmt.Errorf("there is no capability %q", name)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
