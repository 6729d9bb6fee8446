// Package chaos runs a real node of real processes, does to it whatever goes wrong
// in the field, all at random and at once, and judges what it does about it.
//
// A seed determines the tree (plan), what happens to it and when (schedule). The
// services are the test binary itself, steered over a socket and by files in
// their data directories. A model that shares no code with bhnode follows the
// event journal and knows what may follow what; the processes of the machine are
// the second witness, and a lock that each life of a service holds is the third.
//
// Every few faults the world comes to rest: then everything wanted must be well, or
// there must be a reason in the journal why it is not.
//
//	make chaos SEED=7 FAULTS=300
//
// With a violation it prints the seed, what was done last, the rule, the events
// around it, and keeps the directory of the node.
package chaos
