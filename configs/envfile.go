package configs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/blackhole/bhnode/proc"
)

// readEnvFile reads NAME=value lines. Nothing in them is expanded; a mistake is
// reported with the line of the file it stands in, but without the value, which
// may be a secret.
func (d *decoder) readEnvFile(o *object, path string) []proc.EnvVar {
	content, err := d.machine.readTrusted(path)
	if err != nil {
		o.fail("env_file", "", "%s: %s", path, err)
		return nil
	}
	vars, mistakes := parseEnvFile(plainText(content))
	at := o.pos("env_file")
	for _, m := range mistakes {
		d.errs = append(d.errs, &Error{
			File: path, Line: m.line, Column: 1, Path: o.at("env_file"), Message: m.err.Error(), pos: at,
		})
	}
	return vars
}

type envMistake struct {
	line int
	err  error
}

// parseEnvFile reads lines of NAME=value: blank lines and those that begin with #
// are skipped, `export` before a name too. A value in '…' is literal, one in "…"
// knows \n, \t, \" and \\, any other ends at the end of the line or at a # after a
// blank.
func parseEnvFile(s string) (vars []proc.EnvVar, mistakes []envMistake) {
	for i, line := range strings.Split(s, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, found := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		var err error
		switch why := badVariable(name); {
		case !found || strings.ContainsAny(name, " \t"):
			err = errors.New("is not NAME=value")
		case why != "":
			err = fmt.Errorf("%s %s", name, why)
		default:
			value, err = envValue(strings.TrimSpace(value))
		}
		if err != nil {
			mistakes = append(mistakes, envMistake{i + 1, err})
			continue
		}
		vars = append(vars, proc.EnvVar{Name: name, Value: value})
	}
	return vars, mistakes
}

func envValue(s string) (string, error) {
	if strings.Contains(s, "\x00") {
		return "", errors.New("a value must not contain a NUL byte")
	}
	if s == "" || (s[0] != '\'' && s[0] != '"') {
		if i := strings.Index(s, " #"); i >= 0 {
			s = strings.TrimSpace(s[:i])
		}
		return s, nil
	}
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			if rest := strings.TrimSpace(s[i+1:]); rest != "" && rest[0] != '#' {
				return "", errors.New("something stands behind the closing quote")
			}
			return b.String(), nil
		case c == '\\' && quote == '"' && i+1 < len(s):
			i++
			b.WriteString(unescaped(s[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("the quote is never closed")
}

// unescaped is what a backslash and c stand for; an unknown pair stays.
func unescaped(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case '"', '\\', '$':
		return string(c)
	}
	return `\` + string(c)
}
