package proc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
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

// boundCapabilities takes all capabilities but keep out of what this thread, and all
// that comes of it, can ever get.
func boundCapabilities(keep []int) error {
	for n := range 64 {
		if slices.Contains(keep, n) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); errors.Is(err, unix.EINVAL) {
			return nil // the kernel knows no more
		} else if err != nil {
			return err
		}
	}
	return nil
}

// setCapabilities makes keep the capabilities of this thread, and of a program that it
// runs, whoever the user is.
func setCapabilities(keep []int) error {
	var data [2]unix.CapUserData
	for _, n := range keep {
		bit := uint32(1) << (n % 32)
		data[n/32].Effective |= bit
		data[n/32].Permitted |= bit
		data[n/32].Inheritable |= bit
	}
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return err
	}
	for _, n := range keep {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n), 0, 0); err != nil {
			return err
		}
	}
	return nil
}
