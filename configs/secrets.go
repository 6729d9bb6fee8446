package configs

import (
	"regexp"
	"slices"
	"strings"
)

var (
	wordParts = regexp.MustCompile(`[A-Z]+(?:[a-z]+)?|[a-z]+|[0-9]+`)
	userInfo  = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s?#]*@`)
	// assignment is NAME=value, in an argument as in a query string.
	assignment = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_.-]*)=([^\s&;]+)`)
)

// secretEnds end words like those of PGPASSWORD and authtoken.
var secretEnds = []string{"password", "passwd", "passphrase", "secret", "token"}

// secretName reports whether a key or a flag names a secret by one of its words:
// jwt_secret and apiKey do, monkey does not.
func secretName(name string) bool {
	if strings.HasSuffix(name, "_AUTH") { // REDISCLI_AUTH
		return true
	}
	return slices.ContainsFunc(wordParts.FindAllString(name, -1), func(part string) bool {
		part = strings.ToLower(part)
		if slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(part, end) }) {
			return true
		}
		switch part {
		case "secrets", "passwords", "pwd", "tokens", "credential", "credentials", "private",
			"key", "keys", "apikey", "secretkey", "privatekey", "accesskey":
			return true
		}
		return false
	})
}

// maskText masks the user info of URLs, and the values of secret names in
// NAME=value.
func maskText(s string) string {
	if strings.Contains(s, "@") {
		s = userInfo.ReplaceAllString(s, "${1}"+mask+"@")
	}
	if !strings.Contains(s, "=") { // as in most
		return s
	}
	return assignment.ReplaceAllStringFunc(s, func(m string) string {
		if name, _, _ := strings.Cut(m, "="); secretName(name) {
			return name + "=" + mask
		}
		return m
	})
}

// maskArgs masks the arguments of a command: what maskText finds, and what
// follows a flag with a secret name.
func maskArgs(argv []string) []string {
	masked := make([]string, len(argv))
	for i, arg := range argv {
		masked[i] = maskText(arg)
		if i == 0 || strings.HasPrefix(arg, "-") {
			continue
		}
		if flag := argv[i-1]; strings.HasPrefix(flag, "-") && !strings.Contains(flag, "=") && secretName(flag) {
			masked[i] = mask
		}
	}
	return masked
}

// maskArgv returns an argument vector as it is shown; path is where it stands.
func (c *Config) maskArgv(path string, argv []string) []string {
	shown := make([]string, len(argv))
	for i, arg := range argv {
		shown[i] = arg
		if len(c.masked) == 0 { // as in most
			continue
		}
		if masked, ok := c.masked[index(path, i)]; ok {
			shown[i] = masked
		}
	}
	return maskArgs(shown)
}

// MaskCommand returns the command of one of the services with secrets replaced by ***.
func (c *Config) MaskCommand(s *Service) []string {
	return c.maskArgv("services."+s.Name+".command", s.Command)
}
