package logstore

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyEntry is an entry of a service, its line and its level such as may hold anything.
func anyEntry() *rapid.Generator[Entry] {
	return rapid.Custom(func(t *rapid.T) Entry {
		e := Entry{
			Time:    noon.Add(time.Duration(rapid.Int64Range(0, 1e12).Draw(t, "after noon"))),
			Service: rapid.SampledFrom([]string{"web", "a\"b", "é"}).Draw(t, "service"),
			Stream:  rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(t, "stream"),
			Pid:     rapid.IntRange(0, 1<<22).Draw(t, "pid"),
			Seq:     rapid.Uint64().Draw(t, "seq"),
			Line:    anyLine().Draw(t, "line"),
			Partial: rapid.Bool().Draw(t, "partial"),
		}
		if rapid.Bool().Draw(t, "JSON") {
			e.Line = []byte(rapid.SampledFrom([]string{
				`{"level":"error","msg":"a \"boom\"","a":{"b":[1,"}"]}}`, `{"level":"\u0065rror","msg":"\ud83d\ude00 \ud83d boom\/\b"}`,
				`{"level":7,"msg":"x"}`, `{"stream":"stderr","boom":null}`, `{"msg":"\u0062oom\\","level":"WARN"}`,
			}).Draw(t, "object"))
		}
		return e
	})
}

// What look says of a line, whole or damaged, is what encoding/json says.
func TestLookIsDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEntry().Draw(t, "entry")
		line := Encode(nil, &e)
		v, ok := look(line)
		if !ok {
			t.Fatalf("look(%q) = false", line)
		}
		for range rapid.IntRange(0, 2).Draw(t, "damages") {
			at := rapid.IntRange(0, len(line)).Draw(t, "at")
			end := min(len(line), at+rapid.IntRange(0, 3).Draw(t, "length"))
			with := rapid.SampledFrom([]string{"", "0", "-", ".", " ", `"`, `\`, `\u00e9`, "}", ",", "null", "\xff", "\r", "é"}).Draw(t, "with")
			line = slices.Replace(line, at, end, []byte(with)...)
			v, ok = look(line)
		}
		if !ok {
			return
		}
		got, _ := v.entry(&Query{})
		want, isEntry := decodeAny(line)
		if diff := cmp.Diff(want, got); !isEntry || diff != "" {
			t.Fatalf("%q is an entry: %v (-want +got)\n%s", line, isEntry, diff)
		}
	})
}

// What may be read in more than one way, or needs more than a look, is left to encoding/json.
func TestLookRefuses(t *testing.T) {
	const head = `{"time":"2026-11-23T11:00:01Z","service":"web","stream":"stdout","pid":7,"seq":42,`
	for _, line := range []string{
		head + `"message":"a","message":"b"}`, head + `"message":"a","Level":"error"}`, head + `"message":null}`, head + `"message":"a"} `,
		head + `"message":"a","level":}`, head + `"message":"a","level":"x}`, head + `"message":"a","fields":null}`, head + `"message":"a","partial":false}`,
		head + `"message_b64":"a"}`, head + `"message_b64":"\/wA="}`, head + "\"message\":\"\xff\"}", head + `"message":"a"`,
		strings.Replace(head, "7", "7e1", 1) + `"message":"a"}`, strings.Replace(head, "42", "-42", 1) + `"message":"a"}`,
		strings.Replace(head, "T11", "Tx1", 1) + `"message":"a"}`, head + `"message":"a","fields":{"a":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}}`,
	} {
		if v, ok := look([]byte(line)); ok {
			t.Errorf("look(%q) = %+v", line, v)
		}
	}
}
