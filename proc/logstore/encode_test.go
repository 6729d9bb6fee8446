package logstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := map[string]Entry{
		``:                           {},
		`text`:                       {Message: []byte(`text`)},
		`{`:                          {Message: []byte(`{`)},
		`{}`:                         {Message: []byte{}},
		" {} \r":                     {Message: []byte{}},
		`{"msg":"hi"}`:               {Message: []byte(`hi`)},
		`{"message":"hi"}`:           {Message: []byte(`hi`)},
		`{"message":"a","msg":"b"}`:  {Message: []byte(`b`), Fields: []byte(`{"message":"a"}`)},
		`{"msg":"a","message":"b"}`:  {Message: []byte(`a`), Fields: []byte(`{"message":"b"}`)},
		`{"msg":"a","msg":"b"}`:      {Message: []byte(`a`), Fields: []byte(`{"msg":"b"}`)},
		`{"level":"warn","msg":"x"}`: {Message: []byte(`x`), Level: "warn"},
		`{"level":"NOTICE"}`:         {Message: []byte{}, Level: "NOTICE"},
		`{"level":30,"msg":7}`:       {Message: []byte{}, Fields: []byte(`{"level":30,"msg":7}`)},
		`{"z":1,"msg":"x","a": [ {"b":1e9} ] ,"z":"2"}`: {
			Message: []byte(`x`), Fields: []byte(`{"z":1,"a": [ {"b":1e9} ],"z":"2"}`),
		},
		`{"msg":"a\n\u00e9\"\u0000"}`: {Message: []byte("a\né\"\x00")},
		`{"msg":"a"} x`:               {Message: []byte(`{"msg":"a"} x`)},
		`{"msg":"a"}{}`:               {Message: []byte(`{"msg":"a"}{}`)},
		`{"msg":"a",}`:                {Message: []byte(`{"msg":"a",}`)},
		`{msg:"a"}`:                   {Message: []byte(`{msg:"a"}`)},
		"{\"msg\":\"\xff\"}":          {Message: []byte("{\"msg\":\"\xff\"}")},
		"{\"msg\":\"a\x00\"}":         {Message: []byte("{\"msg\":\"a\x00\"}")},
		`["msg"]`:                     {Message: []byte(`["msg"]`)},
	}
	for line, want := range tests {
		want.Line = []byte(line)
		if line == "" {
			want.Message = []byte{}
		}
		got := Entry{Line: []byte(line)}
		Parse(&got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%q) (-want +got)\n%s", line, diff)
		}
	}
	part := Entry{Line: []byte(`{"msg":"a"}`), Partial: true}
	Parse(&part)
	if string(part.Message) != `{"msg":"a"}` {
		t.Errorf("a part of a line was parsed: %q", part.Message)
	}
}

func TestScanObjectDepth(t *testing.T) {
	for depth, want := range map[int]bool{1: true, maxDepth - 1: true, maxDepth + 1: false, 1 << 20: false} {
		line := []byte(`{"a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`)
		if _, got := scanObject(line, nil); got != want {
			t.Errorf("nested %d deep: %v, want %v", depth, got, want)
		}
	}
}

func TestScanObjectIsStrict(t *testing.T) {
	for line, want := range map[string]bool{
		`{"a":-0.5e+10,"b":[true,false,null,{}],"c":"\\u00Ff\\n"}`: true,
		`{"a":01}`: false, `{"a":1.}`: false, `{"a":1e}`: false, `{"a":-}`: false, `{"a":+1}`: false,
		`{"a":tru}`: false, `{"a":nul`: false, `{"a":}`: false, `{"a":1 "b":2}`: false, `{"a":1`: false,
		`{"a":"\u12g4"}`: false, `{"a":"\u12`: false, `{"a":"\x"}`: false, `{"a":"\`: false, `{"a":"`: false,
		`{"a"`: false, `{"a":`: false, `{"a":[1,]}`: false, `{"a":[1`: false, `{"a":{"b"}}`: false, `{"a":{1:2}}`: false, `{"a":{"b":1}}`: true,
	} {
		if _, got := scanObject([]byte(line), nil); got != want || got != json.Valid([]byte(line)) {
			t.Errorf("scanObject(%s) = %v, want %v", line, got, want)
		}
	}
}

// encodingSays is what encoding/json makes of a line: is it an object.
func encodingSays(line []byte) bool {
	return utf8.Valid(line) && json.Valid(line) && bytes.TrimLeft(line, " \t\r\n")[0] == '{'
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"msg":"a","n":-1.5e+3,"t":true,"f":false,"x":null,"a":[1,"b",{}],"o":{"k":"v"}}`,
		`{"level":"info","message":"\ud83d\ude00\/"}`, `{"a":01}`, `{"a":1.}`, `{"a":1e}`, `{"a":-}`, `{"a":tru}`,
		`{"a":"\u12g4"}`, `{"a":"\x"}`, `{"a":"`, `{"a"`, `{"a":`, `{"a":[1,]}`, `{"a":{"b"}}`, `{}x`, " {\t}\r",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		ms, ok := scanObject(line, nil)
		if want := encodingSays(line); ok != want && bytes.Count(line, []byte("["))+bytes.Count(line, []byte("{")) < maxDepth {
			t.Fatalf("scanObject(%q) = %v, want %v", line, ok, want)
		}
		e := Entry{Line: line}
		Parse(&e)
		if e.Fields != nil && !encodingSays(e.Fields) {
			t.Fatalf("the fields of %q are %q", line, e.Fields)
		}
		if !ok && !bytes.Equal(e.Message, line) {
			t.Fatalf("the message of %q is %q", line, e.Message)
		}
		if got, ok := decode(Encode(nil, &e)); !ok || len(ms) > 0 && !bytes.Equal(got.Message, e.Message) {
			t.Fatalf("%q came back as %q", e.Message, got.Message)
		}
	})
}

func TestEncode(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 1, 5000, time.FixedZone("", 3600))
	base := Entry{Time: at, Service: "web", Stream: "stdout", Pid: 7, Seq: 42}
	const head = `{"time":"2026-11-23T11:00:01.000005Z","service":"web","stream":"stdout","pid":7,"seq":42,`
	tests := []struct {
		line    string
		partial bool
		want    string
	}{
		{``, false, `"message":""}`},
		{`hello`, false, `"message":"hello"}`},
		{"\x1b[31m\"a\"\\\t\r\x00\x7f é\u2028", false, `"message":"\u001b[31m\"a\"\\\t\r\u0000` + "\x7f é\u2028\"}"},
		{"\xff\x00", false, `"message_b64":"/wA="}`},
		{`long`, true, `"message":"long","partial":true}`},
		{`{"level":"info","time":"now","msg":"up","port":80}`, false, `"message":"up","level":"info","fields":{"time":"now","port":80}}`},
	}
	for _, tt := range tests {
		e := base
		e.Line, e.Partial = []byte(tt.line), tt.partial
		if diff := cmp.Diff(head+tt.want, string(Encode(nil, &e))); diff != "" {
			t.Errorf("Encode(%q) (-want +got)\n%s", tt.line, diff)
		}
	}
	// An entry that came without its line, as over the API.
	e := base
	e.Level, e.Fields = "info", []byte(`{"a":1}`)
	if diff := cmp.Diff(head+`"message":"","level":"info","fields":{"a":1}}`, string(Encode([]byte{}, &e))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func anyLine() *rapid.Generator[[]byte] {
	return rapid.OneOf(
		rapid.SliceOf(rapid.Byte()),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
		rapid.Map(rapid.MapOf(rapid.SampledFrom([]string{"msg", "message", "level", "a", "é\""}), rapid.String()),
			func(m map[string]string) []byte {
				b, err := json.Marshal(m)
				if err != nil {
					panic(err)
				}
				return b
			}),
	)
}

func TestEncodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			Time:    time.Unix(rapid.Int64Range(0, 1<<34).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			Service: rapid.String().Draw(t, "service"),
			Stream:  rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(t, "stream"),
			Pid:     rapid.IntRange(0, 1<<22).Draw(t, "pid"),
			Seq:     rapid.Uint64().Draw(t, "seq"),
			Line:    anyLine().Draw(t, "line"),
			Partial: rapid.Bool().Draw(t, "partial"),
		}
		b := Encode(nil, &e)
		if !json.Valid(b) || bytes.IndexByte(b, '\n') >= 0 {
			t.Fatalf("not a line of JSON: %q", b)
		}
		got, ok := decode(b)
		if !ok {
			t.Fatalf("cannot decode %q", b)
		}
		want := e
		want.Line = nil
		if len(want.Message) == 0 {
			want.Message = []byte{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
		if at, ok := decodeTime(b); !ok || !at.Equal(e.Time) {
			t.Fatalf("decodeTime = %v, %v", at, ok)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	for _, line := range []string{
		``, `text`, `{}`, `{"time":"`, `{"time":"x","message":""}`, `{"time":"2026-11-23T11:00:01Z"}`,
		`{"time":"2026-11-23T11:00:01Z","message":"a`, "\x00\x00\x00",
	} {
		if e, ok := decode([]byte(line)); ok {
			t.Errorf("decode(%q) = %+v", line, e)
		}
	}
	for _, line := range []string{``, `{}`, `{"time":"x`, `{"time":"x"`} {
		if at, ok := decodeTime([]byte(line)); ok {
			t.Errorf("decodeTime(%q) = %v", line, at)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, line := range map[string]string{
		"text": strings.Repeat("a hundred bytes ", 7)[:100],
		"json": `{"level":"info","time":"2026-11-23T11:00:01Z","msg":"request served","path":"/v1/x","status":200,"ms":3}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			e := Entry{Time: time.Now(), Service: "identity", Stream: "stdout", Pid: 4711, Line: []byte(line)}
			var dst []byte
			for b.Loop() {
				e.Message = nil
				e.Seq++
				dst = Encode(dst[:0], &e)
			}
		})
	}
}

func TestLinesOfAJoinedEntry(t *testing.T) {
	e := Entry{Seq: 12, Line: []byte("a\n\nbc\n"), Joined: 3, Pid: 4}
	for n, want := range map[int]string{1: "12:", 2: "11:bc 12:", 4: "9:a 10: 11:bc 12:", 9: "9:a 10: 11:bc 12:"} {
		var got []string
		for _, l := range e.Lines(n) {
			if l.Joined != 0 || l.Pid != 4 {
				t.Errorf("%d: %+v", n, l)
			}
			got = append(got, fmt.Sprintf("%d:%s", l.Seq, l.Line))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%d: got %q, want %q", n, text, want)
		}
	}
	if got := (&Entry{Seq: 1, Line: []byte("a\nb")}).Lines(5); len(got) != 1 || string(got[0].Line) != "a\nb" {
		t.Errorf("got %+v", got)
	}
}
