package configs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/blackhole/bhnode/supervision"
)

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
}

func TestExpand(t *testing.T) {
	env := lookupIn(map[string]string{"A": "one", "EMPTY": "", "LOOK": "${BLACKHOLE_PORT}", "DOLLAR": "$"})
	for _, test := range []struct{ in, value, runtime, masked string }{
		{"plain", "plain", "plain", "plain"},
		{"$A stays, ^re$ too", "$A stays, ^re$ too", "$A stays, ^re$ too", "$A stays, ^re$ too"},
		{"x${A}y", "xoney", "xoney", "x***y"},
		{"${EMPTY}", "", "", ""},
		{"${EMPTY:-two}", "two", "two", "***"},
		{"${NONE:-}", "", "", ""},
		{"${NONE:-${A}!}", "one!", "one!", "***"},
		{"${NONE:-a b: {c}}", "a b: {c}", "a b: {c}", "***}"},
		{"${A:-two}", "one", "one", "***"},
		{"${A:?needed}", "one", "one", "***"},
		{"$$", "$", "$", "$"},
		{"$${A}", "${A}", "${A}", "${A}"},
		{"$$${A}", "$one", "$one", "$***"},
		{"end$", "end$", "end$", "end$"},
		{"${BLACKHOLE_PORT}", "${BLACKHOLE_PORT}", "${BLACKHOLE_PORT}", "${BLACKHOLE_PORT}"},
		{"$${BLACKHOLE_PORT}", "${BLACKHOLE_PORT}", "$${BLACKHOLE_PORT}", "${BLACKHOLE_PORT}"},
		{"$$${BLACKHOLE_PORT}", "$${BLACKHOLE_PORT}", "$$${BLACKHOLE_PORT}", "$${BLACKHOLE_PORT}"},
		{"${LOOK}", "${BLACKHOLE_PORT}", "$${BLACKHOLE_PORT}", "***"},
		{"${DOLLAR}{BLACKHOLE_PORT}", "${BLACKHOLE_PORT}", "$${BLACKHOLE_PORT}", "***{BLACKHOLE_PORT}"},
		{"${DOLLAR}${BLACKHOLE_PORT}", "$${BLACKHOLE_PORT}", "$$${BLACKHOLE_PORT}", "***${BLACKHOLE_PORT}"},
	} {
		got, errs := expand(test.in, env)
		if len(errs) > 0 {
			t.Errorf("%s: %v", test.in, errs)
		}
		if got.value != test.value || got.runtime != test.runtime || got.masked != test.masked {
			t.Errorf("%s expands to %q, for proc %q, shown %q; want %q, %q, %q",
				test.in, got.value, got.runtime, got.masked, test.value, test.runtime, test.masked)
		}
	}
}

// forward expands as proc does, by the rule that doc.go states.
func forward(s, value string) string {
	return runtimeLook.ReplaceAllStringFunc(s, func(m string) string {
		n := 0
		for m[n] == '$' {
			n++
		}
		if n%2 == 0 {
			return m[n/2:]
		}
		return m[:n/2] + value
	})
}

func TestLiteralTextReachesTheServiceAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{"$", "{", "}", "BLACKHOLE_PORT", "{BLACKHOLE_PORT}", "A", "x"}))
		var literal string
		for _, part := range parts.Draw(t, "parts") {
			literal += part
		}
		got, errs := expand(escapePlain(literal), lookupIn(nil))
		if len(errs) > 0 || got.value != literal {
			t.Fatalf("%q reads as %q (%v)", literal, got.value, errs)
		}
		viaVariable, _ := expand("<${V}${BLACKHOLE_X}>", lookupIn(map[string]string{"V": literal}))
		if service := forward(viaVariable.runtime, "!"); service != "<"+literal+"!>" {
			t.Fatalf("%q from a variable reaches the service as %q", literal, service)
		}
		again, errs := expand(escapeRuntime(got.runtime), lookupIn(nil))
		if len(errs) > 0 || forward(again.runtime, "!") != forward(got.runtime, "!") {
			t.Fatalf("%q is shown as %q, which reads as %q (%v)", got.runtime, escapeRuntime(got.runtime), again.runtime, errs)
		}
	})
}

func TestSplitCommand(t *testing.T) {
	for _, test := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"  a  b\tc\n", []string{"a", "b", "c"}},
		{`sh -c 'while date; do sleep 1; done'`, []string{"sh", "-c", "while date; do sleep 1; done"}},
		{`a "b c" d\ e ''`, []string{"a", "b c", "d e", ""}},
		{`a"b"'c'`, []string{"abc"}},
		{`"\"\\\n\$"`, []string{`"\\n$$`}},
		{`'\'`, []string{`\`}},
		{`x ${V:-a b} "${W}"`, []string{"x", "${V:-a b}", "${W}"}},
		{`\${V} $$x`, []string{"$${V}", "$$x"}},
		{`a=1 #x *`, []string{"a=1", "#x", "*"}},
		{"${open", []string{"${open"}},
	} {
		got, err := splitCommand(test.in)
		if err != nil || !cmp.Equal(got, test.want) {
			t.Errorf("%s splits into %q (%v), want %q", test.in, got, err, test.want)
		}
	}
	for in, want := range map[string]string{
		"a | b":    "| needs a shell, and none runs",
		"a && b":   "& needs a shell, and none runs",
		"a $(b)":   "( needs a shell, and none runs",
		"a `b`":    "` needs a shell, and none runs",
		`a "b`:     `the quote " is never closed`,
		"a 'b":     "the quote ' is never closed",
		`a \`:      "a backslash stands at the end",
		"a > file": "> needs a shell, and none runs",
	} {
		if got, err := splitCommand(in); err == nil || err.Error() != want {
			t.Errorf("%s splits into %q (%v), want error %q", in, got, err, want)
		}
	}
}

func TestValueOfAVariableStaysOneArgument(t *testing.T) {
	m := testMachine(map[string]string{"V": `one 'two" $HOME ; three`})
	c, err := parse(t, m, "services: {a: {command: 'run ${V} end'}}")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"run", `one 'two" $HOME ; three`, "end"}
	if diff := cmp.Diff(want, c.Services[0].Command); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0s", "1d": "24h", "1.5d": "36h", "2d3h": "51h", "90s": "1m30s", "1h": "1h", "250ms": "250ms", "1h0m5s": "1h0m5s",
	} {
		d, err := parseDuration(in)
		if err != nil || supervision.FormatDuration(d) != want {
			t.Errorf("%s is %s (%v), want %s", in, supervision.FormatDuration(d), err, want)
		}
	}
	for in, want := range map[string]string{
		"5":             "needs a unit, such as 5s",
		"-5s":           "is negative",
		"":              "is not a duration such as 500ms, 30s, 5m, 1h30m or 1d",
		"1w":            "is not a duration such as 500ms, 30s, 5m, 1h30m or 1d",
		"1d-1h":         "is negative",
		"9999999999d":   "is too long",
		"106751d23h47m": "",
		"106751d24h":    "is too long",
	} {
		_, err := parseDuration(in)
		if want == "" && err == nil {
			continue
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %q", in, err, want)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"command", "tcp_port", "unix_socket", "depends_on", "env", "env_file", "health_check", "user"}
	for word, want := range map[string]string{
		"comand": "command", "tcp-port": "tcp_port", "port": "tcp_port", "Depends_On": "depends_on", "healthcheck": "health_check",
		"evn": "env", "volumes": "", "x": "", "socket": "unix_socket",
	} {
		got := suggest(word, known)
		if want != "" {
			want = `did you mean "` + want + `"?`
		}
		if got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
