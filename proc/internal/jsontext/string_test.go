package jsontext

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestStringsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "text")
		var got string
		if err := json.Unmarshal(AppendString(nil, want), &got); err != nil || got != want {
			t.Fatalf("%q came back as %q, %v", want, got, err)
		}
		if plain := Plain(want); plain < len(want) && want[plain] >= ' ' && want[plain] != '"' && want[plain] != '\\' {
			t.Fatalf("%q is plain up to byte %d", want, plain)
		}
	})
}
