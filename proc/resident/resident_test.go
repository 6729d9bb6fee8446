package resident

import (
	"strconv"
	"strings"
	"testing"
)

// mapped is how many KiB of the program are in memory.
func mapped(t *testing.T) (sum int) {
	t.Helper()
	own := false
	for line := range strings.Lines(read("/proc/self/smaps")) {
		f := strings.Fields(line)
		if strings.Contains(f[0], "-") {
			own = len(f) > 5 && strings.HasSuffix(f[5], ".test") && strings.HasPrefix(f[1], "r-")
		}
		if own && f[0] == "Rss:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

func TestWhatIsDroppedComesBackWhenItIsNeeded(t *testing.T) {
	before := mapped(t)
	DropCode()
	if after := mapped(t); before == 0 || after >= before {
		t.Errorf("%d KiB of the program are in memory, %d were before", after, before)
	}
	if strings.ToUpper(strconv.Itoa(1<<10)+"k") != "1024K" {
		t.Error("it does not run on")
	}
}
