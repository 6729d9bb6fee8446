// Package conformance replays traces that were recorded from the supervisor of
// Erlang/OTP. A trace is a tree, what happens to it, and what the real one did,
// event by event; what stands in a trace but is the affair of Erlang's processes
// alone is left out (see comparison).
//
// BHNODE_GOLDEN_DIR names another folder of traces than the one kept here.
package conformance
