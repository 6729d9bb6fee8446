// Package host is what a Blackhole service is built on: fill in Options, usually
// with FromEnv from what bhnode put in the environment, register your own gRPC
// services, and call Run.
//
// A host answers gRPC health on its unix socket and on its TCP port, which is on the
// loopback interface only; reflection is on the socket alone. It says SERVING while
// every dependency says so, and NOT_SERVING as soon as one of them does not. On
// SIGTERM it says NOT_SERVING, finishes the calls it has begun and ends. It logs
// JSON lines on standard output: time, level, message and fields.
//
// Who owns what: Run owns the listeners and servers; one goroutine a dependency
// watches it and reports to the loop in serve, which alone decides what health says.
package host
