package main

import (
	"maps"
	"strings"
	"testing"
)

func TestViews(t *testing.T) {
	tests := []struct {
		name string
		args []string
		code int
	}{
		{"status", []string{"status"}, exitOK},
		{"status-storage", []string{"status", "storage"}, exitOK},
		{"status-ledger", []string{"status", "ledger"}, exitOK},
		{"status-cache", []string{"status", "cache"}, exitOK},
		{"status-data", []string{"status", "data"}, exitOK},
		{"health", []string{"health"}, exitFailed},
		{"tree", []string{"tree"}, exitOK},
		{"tree-actors", []string{"tree", "--actors"}, exitOK},
		{"logs", []string{"logs"}, exitOK},
		{"events", []string{"events"}, exitOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			node := troubled()
			node.dropped = 1
			socket, _ := serve(t, node)
			got := at(socket).exec(t, tt.args...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			golden(t, tt.name, got.out+"--- stderr\n"+got.err)
			assertHarmless(t, got.out+got.err)

			posix := world{env: map[string]string{"BHNODE_SOCKET": socket}}.exec(t, tt.args...)
			if !strings.HasPrefix(tt.name, "logs") { // a pipe gets the text as it was
				golden(t, tt.name+"-ascii", posix.out+"--- stderr\n"+posix.err)
				for _, r := range posix.out + posix.err {
					if r > 0x7e {
						t.Fatalf("%q beyond ASCII in a POSIX locale", r)
					}
				}
			}
		})
	}
}

// assertHarmless fails when text could drive a terminal.
func assertHarmless(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e) {
			t.Errorf("%U would reach the terminal in %q", r, text)
		}
	}
}

func TestTerminal(t *testing.T) {
	socket, _ := serve(t, troubled())
	on := func(t *testing.T, width uint16, env map[string]string, args ...string) string {
		t.Helper()
		term := newTerminal(t, width, 24)
		w := at(socket)
		w.stdout = term.File
		maps.Copy(w.env, env)
		w.exec(t, args...)
		return term.finish()
	}
	t.Run("colour", func(t *testing.T) {
		golden(t, "status-colour", visible(on(t, 120, nil, "status")))
		golden(t, "logs-colour", visible(on(t, 120, nil, "logs")))
	})
	t.Run("narrow lines are cut", func(t *testing.T) {
		got := on(t, 40, map[string]string{"NO_COLOR": "1"}, "status")
		golden(t, "status-narrow", got)
	})
	t.Run("COLUMNS", func(t *testing.T) {
		got := on(t, 120, map[string]string{"NO_COLOR": "1", "COLUMNS": "40"}, "status")
		golden(t, "status-narrow", got)
	})
	for name, env := range map[string]map[string]string{"NO_COLOR": {"NO_COLOR": "1"}, "TERM=dumb": {"TERM": "dumb"}} {
		t.Run(name, func(t *testing.T) {
			if got := on(t, 120, env, "tree"); strings.Contains(got, "\x1b") {
				t.Errorf("escapes in %q", got)
			}
		})
	}
	t.Run("a locale without UTF-8", func(t *testing.T) {
		got := on(t, 120, map[string]string{"LANG": "C", "NO_COLOR": "1"}, "logs")
		if !strings.Contains(got, `caf\u00e9`) {
			t.Errorf("é is not escaped in %q", got)
		}
		assertHarmless(t, got)
	})
}

// visible writes the escapes of a terminal as text.
func visible(s string) string { return strings.ReplaceAll(s, "\x1b", "^[") }
