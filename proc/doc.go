// Package proc does what touches operating-system processes, one deed a call; it
// decides nothing and knows no supervisor.
//
// A Host is the processes of one node on one runtime directory. Who asks for a process forks
// it while there are few; then the forkers do, on threads that have next to no descriptors,
// and where a parent-death signal is to mean the death of bhnode always the main thread.
// Serve reaps the orphans that are re-parented to bhnode. A lock keeps the two apart, so
// that no status of a registered child is ever taken by the reaper.
//
// Start takes a ServiceSpec through its stages to a Process, which is one
// incarnation: its main process, waited for by a pidfd in a poller (no thread and no
// goroutine a process), its pipes, and its family, which is everything that came of it. The
// family is what is in its group of the kernel, and is found too by walking down from
// the main process, and from those of our own children that are nobody's main and carry
// its BHNODE_ID or session.
//
//	Start → … → Exited → AwaitGone → PostStop → Release
//	             Signal, Kill at any time
//
// At most one incarnation of a service exists between Start and Release. What a dead
// bhnode left is found by Sweep: it is in a group called after, or carries,
// BHNODE_INSTANCE, a random number that lives in the runtime directory and that no other
// node has.
//
// Limits are a backend's: cgroup v2, cgroup v1, or none; which, and what it cannot do,
// is told by Isolation and Enforcement. The subpackage shim sets what a fork cannot.
//
// What needs to outlive bhnode is kept by the packages below: state (what runs, what
// is held), logstore and journal.
package proc
