package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"strings"
	"testing"
)

func TestAServiceOfTheHostIsLookedInto(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  a: {}
  b: {depends_on: [a], restart: {initial_delay: 0}}
  plain: {command: [@self], unix_socket: plain.sock, health_check: {type: none}}
`)
	n.up()
	if _, said, code := n.cli("debug", "b", "on"); code != 0 || !strings.Contains(said, "b logs from level debug on") {
		t.Errorf("exit %d: %s", code, said)
	}
	n.do("restart", "--only", "a") // which b says at debug
	n.eventually("it logs at debug", func() bool { return strings.Contains(n.do("logs", "b"), "dependency serving") })
	n.do("debug", "b", "off")
	for _, kind := range [][]string{{"--heap"}, {"--cpu", "200ms"}} {
		file := n.path("profile" + kind[0])
		n.do(append([]string{"profile", "a", "-f", file}, kind...)...)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(data)) // a profile is a gzipped message
		if err != nil {
			t.Fatalf("%v: %v", kind, err)
		}
		if text, err := io.ReadAll(z); err != nil || len(text) == 0 {
			t.Errorf("%v: %d bytes, %v", kind, len(text), err)
		}
	}
	if _, said, code := n.cli("debug", "plain", "on"); code != 1 || !strings.Contains(said, "plain does not answer on") {
		t.Errorf("exit %d: %s", code, said)
	}
	if _, said, code := n.cli("profile", "nobody"); code != 4 {
		t.Errorf("exit %d: %s", code, said)
	}
	asked := n.journaled("operator.command", "")
	if len(asked) < 4 || asked[0].Message != "debug b on" {
		t.Errorf("the journal has %v", asked)
	}
	n.stop()
}
