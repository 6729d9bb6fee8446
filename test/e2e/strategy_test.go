package e2e

import (
	"syscall"
	"testing"
)

func TestOneForOneRestartsNobodyElse(t *testing.T) {
	t.Parallel()
	n := newNode(t, "supervisor: {strategy: one_for_one}"+line)
	n.up()
	n.kill("a", syscall.SIGKILL)
	n.await("service.ready", "a", 2)
	n.checkStates("a running 2", "b running 1", "c running 1")
	n.stop()
}

func TestOneForAllRestartsEverybodyInOrder(t *testing.T) {
	t.Parallel()
	n := newNode(t, "supervisor: {strategy: one_for_all}"+line+"  alone: {}\n")
	n.up()
	before := n.kill("c", syscall.SIGKILL)
	n.awaitAfter(before, "service.ready", "c", 2)
	n.awaitAfter(before, "service.ready", "alone", 2)
	events := n.since(before)
	n.checkOrder(events, "exited c/1", "stopping b/1", "stopped b/1", "stopping a/1", "stopped a/1",
		"starting a/2", "ready a/2", "starting b/2", "ready b/2", "starting c/2", "ready c/2")
	n.checkOrder(events, "stopped alone/1", "starting alone/2")
	n.checkSorted(events, "exited stopped", "exited c/1", "stopped a/1", "stopped alone/1", "stopped b/1")
	n.checkStates("a running 2", "b running 2", "c running 2", "alone running 2")
	n.stop()
}

func TestSequenceStartsStopsAndRestartsInTheOrderOfTheList(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
supervisor: {order: sequence}
defaults: {command: "@self run", restart: {initial_delay: 10ms}}
services:
  one: {}
  two: {}
  three: {}
  four: {depends_on: [two]}
`)
	n.up()
	n.checkBrief(n.log.all(), "starting ready", "starting /0", "starting one/1", "ready one/1", "starting two/1", "ready two/1",
		"starting three/1", "ready three/1", "starting four/1", "ready four/1", "ready /0")
	before := n.kill("two", syscall.SIGKILL)
	n.await("service.ready", "four", 2)
	n.checkBrief(n.since(before), "exited stopping stopped starting ready", "exited two/1",
		"stopping four/1", "stopped four/1", "stopping three/1", "stopped three/1",
		"starting two/2", "ready two/2", "starting three/2", "ready three/2", "starting four/2", "ready four/2")
	before = n.now()
	n.stop()
	n.checkBrief(n.since(before), "stopping stopped", "stopping /0", "stopping four/2", "stopped four/2", "stopping three/2", "stopped three/2",
		"stopping two/2", "stopped two/2", "stopping one/1", "stopped one/1", "stopped /0")
}

func TestAnEdgeAcrossSupervisorsRestartsExactlyWhatNeedsTheService(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run", restart: {initial_delay: 10ms}}
tree:
  - identity
  - supervisor: data
    strategy: one_for_one
    children: [storage, ledger]
  - supervisor: front
    children: [wallet, cache]
services:
  identity: {}
  storage: {}
  ledger: {depends_on: [identity]}
  wallet: {depends_on: [ledger]}
  cache: {}
`)
	n.up()
	before := n.kill("ledger", syscall.SIGKILL)
	n.await("service.ready", "wallet", 2)
	n.checkStates("identity running 1", "storage running 1", "ledger running 2", "wallet running 2", "cache running 1")
	n.checkOrder(n.since(before), "exited ledger/1", "stopped wallet/1", "starting ledger/2", "ready ledger/2", "starting wallet/2")

	before = n.kill("identity", syscall.SIGKILL)
	n.await("service.ready", "wallet", 3)
	n.checkStates("identity running 2", "storage running 1", "ledger running 3", "wallet running 3", "cache running 1")
	n.checkOrder(n.since(before), "exited identity/1", "stopped wallet/2", "stopping ledger/2", "stopped ledger/2",
		"starting identity/2", "ready identity/2", "starting ledger/3", "ready ledger/3", "starting wallet/3")

	n.do("restart", "front")
	n.checkStates("identity running 2", "storage running 1", "ledger running 3", "wallet running 4", "cache running 2")
	names := map[string]string{}
	n.tree().each(func(r treeReport) {
		for _, c := range r.Children {
			names[c.Name] = r.Name
		}
		if r.Kind == "supervisor" && (r.Incarnation != 1 || r.State != "running") {
			t.Errorf("got supervisor %s %s/%d, want running, in its first life", r.Name, r.State, r.Incarnation)
		}
	})
	for child, parent := range map[string]string{"data": "root", "front": "root", "identity": "root", "ledger": "data", "storage": "data", "wallet": "front", "cache": "front"} {
		if names[child] != parent {
			t.Errorf("got %s below %q, want %q", child, names[child], parent)
		}
	}
	n.stop()
}

func TestTwoIndependentRestartsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  slow: {command: "@self run", restart: {initial_delay: 1h, max_delay: 1h}}
  late: {command: "@self run", depends_on: [slow]}
  quick: {command: "@self run", restart: {initial_delay: 0}}
  after: {command: "@self run", depends_on: [quick]}
`)
	n.up()
	n.kill("slow", syscall.SIGKILL)
	n.await("service.backoff", "slow", 1)
	n.kill("quick", syscall.SIGKILL)
	n.await("service.ready", "after", 2)
	n.await("service.stopped", "late", 1)
	n.checkStates("slow backoff 1", "late waiting 1", "quick running 2", "after running 2")
	n.stop()
}
