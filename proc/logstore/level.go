package logstore

import (
	"slices"
	"strings"
)

// Levels are the levels that entries are told apart by, the least first.
var Levels = []string{"trace", "debug", "info", "warn", "error", "fatal"}

// others are what some call them.
var others = map[string]string{
	"verbose": "debug", "dbg": "debug", "information": "info", "inf": "info", "notice": "info", "warning": "warn", "wrn": "warn",
	"err": "error", "severe": "error", "critical": "fatal", "crit": "fatal", "panic": "fatal", "dpanic": "fatal", "alert": "fatal",
	"emerg": "fatal", "emergency": "fatal",
}

// rank orders levels; what has none, or one that nobody knows, is below all.
func rank(level string) int {
	level = strings.ToLower(level)
	if known, ok := others[level]; ok {
		level = known
	}
	return slices.Index(Levels, level)
}
