// Package e2e tests the program itself: each test writes a configuration, runs
// bhnode as a process of its own and looks at what its user can see – the events,
// the command line, the processes of the machine.
//
// The services are the test binary again: `@self STEP…` in a configuration does
// the steps of service_test.go one after the other. A test waits for events, never
// for time to pass, and when it ends nothing of its node may be left.
package e2e
