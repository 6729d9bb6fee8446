package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

func TestSafeText(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "hello, world", "hello, world"},
		{"letters of the world", "naïve 日本語 👩‍👩‍👧 \u00a0.", "naïve 日本語 👩‍👩‍👧 \u00a0."},
		{"brackets stay", "[red]x[-]", "[red]x[-]"},
		{"colours are dropped", "\x1b[1;38:5:12mx\x1b[m", "x"},
		{"an unfinished colour", "\x1b[1;3", `\x1b[1;3`},
		{"moves the cursor", "\x1b[2Jx\x1b[3A", `\x1b[2Jx\x1b[3A`},
		{"sets the title", "\x1b]0;t\x07", `\x1b]0;t\x07`},
		{"hides in C1", "\u009b31m", `\u009b31m`},
		{"hides in a byte", "\x9b31m", `\x9b31m`},
		{"overwrites the line", "abc\rx", `abc\x0dx`},
		{"a Windows line", "abc\r", "abc"},
		{"tab", "a\tb", "a    b"},
		{"NUL, DEL, backspace", "\x00\x7f\b", `\x00\x7f\x08`},
		{"reorders text", "a\u202eb\u2066c", `a\u202eb\u2066c`},
		{"breaks the line", "a\nb\u2028c", `a\x0ab\u2028c`},
		{"is no UTF-8", "\xff\xfeé", `\xff\xfeé`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := safeText(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := safeLines("a\x1b\nb"); got != "a\\x1b\nb" {
		t.Errorf("lines: %q", got)
	}
}

func FuzzSafeText(f *testing.F) {
	for _, s := range []string{"", "\x1b[31mx", "\x1b[\x1b[m", "\xc2\x9b", "\x9b", "日\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{cleanText(s, false), cleanText(s, true)} {
			if !utf8.ValidString(got) {
				t.Fatalf("%q became %q, which is not UTF-8", s, got)
			}
			assertHarmless(t, strings.ReplaceAll(got, "\n", "\x00"))
		}
		for _, r := range cleanText(s, true) {
			if r > 0x7e {
				t.Fatalf("%q became more than ASCII", s)
			}
		}
	})
}

func TestSpan(t *testing.T) {
	tests := map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 120 * time.Millisecond: "120ms", 1900 * time.Millisecond: "1.9s", 3 * time.Second: "3s",
		9990 * time.Millisecond: "9.9s", 38 * time.Second: "38s", 250 * time.Second: "4m10s", 12 * time.Minute: "12m",
		125 * time.Minute: "2h5m", 291 * time.Hour: "12d3h", 48 * time.Hour: "2d",
	}
	for d, want := range tests {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	tests := map[uint64]string{0: "0", 1023: "1023", 1024: "1K", 1536: "1.5K", 38 << 20: "38M", 1 << 30: "1G", 1048575: "1M", 1 << 60: "1E"}
	for n, want := range tests {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestParseSince(t *testing.T) {
	tests := map[string]time.Time{
		"10m":                  noon.Add(-10 * time.Minute),
		"2d":                   noon.Add(-48 * time.Hour),
		"1d12h":                noon.Add(-36 * time.Hour),
		"11:30":                time.Date(2026, 11, 23, 11, 30, 0, 0, time.UTC),
		"11:30:05":             time.Date(2026, 11, 23, 11, 30, 5, 0, time.UTC),
		"2026-11-01":           time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		"2026-11-01 08:00":     time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC),
		"2026-11-01T08:00:01Z": time.Date(2026, 11, 1, 8, 0, 1, 0, time.UTC),
	}
	for text, want := range tests {
		if got, err := parseSince(text, noon); err != nil || !got.Equal(want) {
			t.Errorf("parseSince(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "xd", "1d-", "25:00", "2026-13-01", "-"} {
		if got, err := parseSince(text, noon); err == nil {
			t.Errorf("parseSince(%q) = %v", text, got)
		}
	}
}

func TestLocale(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want bool
	}{
		{"none", nil, false},
		{"C", map[string]string{"LANG": "C"}, false},
		{"UTF-8", map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{"C.utf8", map[string]string{"LC_CTYPE": "C.utf8", "LANG": "C"}, true},
		{"LC_ALL wins", map[string]string{"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, false},
	}
	for _, tt := range tests {
		if got := utf8Locale(func(name string) string { return tt.env[name] }); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestEveryStateHasItsLook(t *testing.T) {
	symbols := map[string]string{}
	for n, name := range bhnodev1.ServiceState_name {
		state := bhnodev1.ServiceState(n)
		if state == bhnodev1.ServiceState_SERVICE_STATE_UNSPECIFIED {
			continue
		}
		for _, s := range []*screen{{utf8: true}, {}} {
			symbol := s.symbol(state)
			if other, taken := symbols[symbol]; taken && other != name || symbol == "?" {
				t.Errorf("%s: symbol %q is that of %q", name, symbol, other)
			}
			symbols[symbol] = name
		}
	}
	if got := (&screen{}).state(0).text; got != "? unknown" {
		t.Errorf("no state: %q", got)
	}
}

func TestExitLine(t *testing.T) {
	code, sig := int32(3), "SIGTERM"
	tests := map[string]*bhnodev1.Exit{
		"":                nil,
		"code 3, 1m ago":  {Code: &code, Time: before(time.Minute)},
		"SIGTERM":         {Signal: &sig},
		"unknown, 5s ago": {Time: before(5 * time.Second)},
	}
	for want, exit := range tests {
		if got := exitLine(noon, exit); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFieldText(t *testing.T) {
	tests := map[string]string{
		``: "", `[]`: "", `{"a":`: "", `{"a"}`: "", `{`: "",
		`{"b":1,"a":{"x": [1]},"s":"two words","e":"","ts":5}`: `b=1 a={"x": [1]} s="two words" e=""`,
	}
	for in, want := range tests {
		if got := fieldText([]byte(in)); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestLogJSONCarriesWhatIsNoText(t *testing.T) {
	got := logToJSON(&bhnodev1.LogEntry{Message: []byte{0xff}, Fields: []byte("{"), Time: timestamppb.New(noon)})
	if got.Message != nil || string(got.MessageB64) != "\xff" || got.Fields != nil {
		t.Errorf("got %+v", got)
	}
}

// What was held and is starting is not said to be held.
func TestTheDetailOfAServiceThatWasHeld(t *testing.T) {
	s := &bhnodev1.Service{State: bhnodev1.ServiceState_SERVICE_STATE_STARTING, Reason: bhnodev1.Reason_REASON_HELD}
	if got := detailText(noon, s); got != "" {
		t.Errorf("it is starting, %q", got)
	}
	s.State, s.Held = bhnodev1.ServiceState_SERVICE_STATE_STOPPED, true
	if got := detailText(noon, s); got != "held" {
		t.Errorf("it is stopped, %q", got)
	}
}
