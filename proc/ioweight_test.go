package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test of weights needs a slow disk of its own, as it changes its scheduler: its
// name below /sys/block and where it is mounted.
const (
	testDisk    = "BHNODE_TEST_DISK"
	testDiskDir = "BHNODE_TEST_DISK_DIR"
)

func TestIOWeightsShareADisk(t *testing.T) {
	disk, dir := os.Getenv(testDisk), os.Getenv(testDiskDir)
	if disk == "" || dir == "" {
		t.Skipf("%s and %s name no disk to be used", testDisk, testDiskDir)
	}
	useBFQ(t, filepath.Join("/sys/block", disk, "queue/scheduler"))
	h := limitedHost(t, ctlIO)
	weights := map[string]int{"light": 100, "heavy": 800}
	for name := range weights {
		must(t, os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte{1}, 4<<20), 0o600))
	}
	unix.Sync()
	var ratio float64
	for range 3 { // who gets no processor leaves the disk to others
		if ratio = readTogether(t, h, dir, weights); ratio > 4 {
			return
		}
	}
	t.Errorf("they differ by %.1f times, want more than 4", ratio)
}

// readTogether has two services read from one disk and returns how many times more the
// heavy one got.
func readTogether(t *testing.T, h *Host, dir string, weights map[string]int) float64 {
	t.Helper()
	var readers []*Process
	for name, weight := range weights {
		s := childSpec("read", filepath.Join(dir, name))
		s.Name, s.Limits.IOWeight = name, weight
		if e := h.Enforcement(s); len(e) != 1 || e[0].By == "" {
			t.Errorf("enforcement %v", e)
		}
		readers = append(readers, start(t, h, s))
	}
	got := map[string]float64{}
	for _, p := range readers {
		n, err := strconv.ParseFloat(strings.TrimSpace(output(t, p.Stdout())), 64)
		must(t, err)
		got[p.service] = n
		awaitGone(t, p)
		p.Release()
	}
	t.Logf("read with weights 100 and 800: %.0f and %.0f KiB", got["light"]/1024, got["heavy"]/1024)
	return got["heavy"] / got["light"]
}

// useBFQ gives a disk the scheduler that heeds weights, until the test ends.
func useBFQ(t *testing.T, scheduler string) {
	t.Helper()
	before, err := os.ReadFile(scheduler)
	must(t, err)
	_, after, _ := strings.Cut(string(before), "[")
	former, _, _ := strings.Cut(after, "]")
	if err := os.WriteFile(scheduler, []byte("bfq"), 0); err != nil {
		t.Skipf("the kernel has no bfq: %v", err)
	}
	t.Cleanup(func() { must(t, os.WriteFile(scheduler, []byte(former), 0)) })
	for _, setting := range [][2]string{
		{"low_latency", "0"},                             // no favour to who has just begun
		{"strict_guarantees", "1"}, {"slice_idle", "50"}, // who gets no processor keeps his turn, for 50 ms
	} {
		must(t, os.WriteFile(filepath.Join(filepath.Dir(scheduler), "iosched", setting[0]), []byte(setting[1]), 0))
	}
}

// readDisk reads a file past all caches, again and again, by several threads so that it
// always waits for the disk. It prints how much it got when others were sure to read too.
func readDisk(path string) {
	const before, during, after = 2 * time.Second, 6 * time.Second, 2 * time.Second
	began := time.Now()
	var total atomic.Int64
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			err := readPast(path, func(n int) bool {
				long := time.Since(began)
				if long > before && long < before+during {
					total.Add(int64(n))
				}
				return long < before+during+after
			})
			if err != nil {
				os.Stdout.WriteString(err.Error() + "\n")
			}
		})
	}
	readers.Wait()
	os.Stdout.WriteString(strconv.FormatInt(total.Load(), 10) + "\n")
}

// readPast reads a file past all caches while more says so.
func readPast(path string, more func(n int) bool) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	block, err := unix.Mmap(-1, 0, 256<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	if err != nil {
		return err
	}
	for at := int64(0); ; {
		n, err := unix.Pread(fd, block, at)
		if err != nil || !more(n) {
			return err
		}
		at += int64(n)
		if n == 0 {
			at = 0
		}
	}
}
