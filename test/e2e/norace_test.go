//go:build !race

package e2e

// buildFlags have bhnode built as the test is.
var buildFlags []string
