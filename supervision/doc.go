// Package supervision decides. It holds Erlang/OTP's supervisor, restated for
// operating-system processes, as a pure state machine: no goroutine, no clock,
// no file, no randomness. The same events at the same times give the same
// commands.
//
//	SupervisorSpec ──Compile──► Tree ──New──► Machine
//	                                             │ Step(now, Event) []Command
//
// A Machine holds every supervisor of one node and the edges between their
// children, so that a decision which touches several supervisors is one step.
// Each supervisor keeps what OTP gives it: its list of children, its window of
// restarts, its mailbox.
//
// Two schedulers carry a decision out. A supervisor with order Sequence does one
// thing at a time, in the order of its list, and leaves what arrives meanwhile
// in its mailbox, as OTP does. One with order Graph has no mailbox: a child stops
// as soon as no dependent of it that is to stop is alive, and starts as soon as
// its conditions hold.
//
// A restart marks a set of children. They share a gate that opens when the last
// of them is gone; behind it each starts when it can. Sets that touch share one
// gate, so that a member is stopped once and started once.
//
// Health turns probe results into a verdict, and Lifecycle is one life of one
// process from its start to the end of everything that is left of it.
package supervision
