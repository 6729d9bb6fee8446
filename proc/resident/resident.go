// Package resident gives memory back that a program has no use for any more. It needs hardly
// any other package, so that an init may use it.
package resident

import (
	"strconv"
	"strings"
	"syscall"
)

// DropCode gives up the pages of the running program that are in memory and were never
// written to: most of them are of use while it comes up only. The kernel maps one again as
// soon as it is needed (madvise(2), MADV_DONTNEED).
func DropCode() {
	var link [4096]byte
	n, err := syscall.Readlink("/proc/self/exe", link[:])
	if err != nil {
		return
	}
	for line := range strings.Lines(read("/proc/self/maps")) {
		fields, ours := strings.CutSuffix(strings.TrimSuffix(line, "\n"), " "+string(link[:n]))
		addresses, rest, _ := strings.Cut(fields, " ")
		if !ours || !strings.HasPrefix(rest, "r-") { // what was written to is nowhere else
			continue
		}
		from, to, _ := strings.Cut(addresses, "-")
		begin, err := strconv.ParseUint(from, 16, 64)
		end, endErr := strconv.ParseUint(to, 16, 64)
		if err == nil && endErr == nil {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(begin), uintptr(end-begin), syscall.MADV_DONTNEED)
		}
	}
}

// read returns a whole file of the kernel, "" if it cannot.
func read(path string) string {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	var text strings.Builder
	block := make([]byte, 4<<10)
	for {
		n, err := syscall.Read(fd, block)
		if n <= 0 || err != nil {
			_ = syscall.Close(fd)
			return text.String()
		}
		_, _ = text.Write(block[:n])
	}
}
