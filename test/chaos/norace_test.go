//go:build !race

package chaos

// buildFlags have bhnode built as the test is.
var buildFlags []string
