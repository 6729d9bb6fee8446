package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// TestALineThatWasShownIsNotEndedByAnEmptyOne: what ends a prompt has no line of its own.
func TestALineThatWasShownIsNotEndedByAnEmptyOne(t *testing.T) {
	a := newApp(stdio{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: func(string) (string, bool) { return "", false }, now: time.Now})
	p := newLogPrinter(a.out, time.Now)
	var got []string
	for _, e := range []*bhnodev1.LogEntry{
		{Service: "app", Stream: "stdout", Message: []byte("Password: "), Partial: true},
		{Service: "app", Stream: "stderr"},
		{Service: "app", Stream: "stdout"},
		{Service: "app", Stream: "stdout"},
		{Service: "app", Stream: "stdout", Message: []byte("begun"), Partial: true},
		{Service: "app", Stream: "stdout", Message: []byte(" and ended")},
		{Service: "app", Stream: "stdout"},
	} {
		line := p.line(e)
		_, text, _ := strings.Cut(line, "| ")
		if line == "" {
			text = "none"
		}
		got = append(got, strings.TrimSuffix(text, "\n"))
	}
	want := []string{"Password: ", "", "none", "", "begun", " and ended", ""}
	if strings.Join(got, ";") != strings.Join(want, ";") {
		t.Errorf("got %q, want %q", got, want)
	}
}
