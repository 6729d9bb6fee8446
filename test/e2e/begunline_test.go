package e2e

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestABegunLineIsSeenWhileItsServiceLives: a prompt is there before it is answered.
func TestABegunLineIsSeenWhileItsServiceLives(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "raw"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, fmt.Sprintf(`
logs: {format: %s}
services:
  asks:
    command: [@self, bytes=%s, until=@dir/go, print=secret, bytes=%s]
    health_check: {type: log, target: "^Password: $"}
`, format, base64.StdEncoding.EncodeToString([]byte("Password: ")), base64.StdEncoding.EncodeToString([]byte("Working"))))
			n.up() // that it is healthy says that it was seen
			if got := n.do("logs", "asks"); !strings.Contains(got, "Password: ") {
				t.Errorf("logs shows %q", got)
			}
			if got := string(n.logFile("asks")); !strings.Contains(got, "Password: ") {
				t.Errorf("in the file is %q", got)
			}
			n.write("go", "")
			n.eventually("the next line that has begun is seen", func() bool {
				return strings.HasSuffix(strings.TrimSuffix(n.do("logs", "asks"), "\n"), "Working")
			})
			n.stop()
			if format == "raw" {
				if diff := cmp.Diff("Password: secret\nWorking", string(n.logFile("asks"))); diff != "" {
					t.Errorf("the file: -want +got\n%s", diff)
				}
				return
			}
			lines := n.logLines("asks")
			checkCounted(t, lines)
			if diff := cmp.Diff([]string{"Password: ", "secret", "Working", ""}, messages(lines)); diff != "" {
				t.Errorf("the entries: -want +got\n%s", diff)
			}
			for i, l := range lines {
				if want := i%2 == 0; l.Partial != want {
					t.Errorf("%q is partial: %t, want %t", l.Message, l.Partial, want)
				}
			}
		})
	}
}
