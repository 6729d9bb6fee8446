// Command bhnode runs a node, a set of services under one supervision tree, and
// is its own client: every command but run, service and config talks to a
// running node over its control API and uses nothing else.
//
// main.go starts it, app.go holds what every command needs, errors.go turns an
// error into the exit code. The commands stand in the file of their name; what
// they print goes through term.go (what a stream can show), table.go (columns),
// words.go (states as words and symbols), json.go (the stable JSON of status and
// tree) and safe.go (text of others, made harmless).
package main
