// Package client dials the control API of a node. On a unix socket it makes sure,
// before it sends anything, that whoever listens is root or the caller's own user, so
// that a socket somebody else put in place learns nothing.
package client
