package supervision

import (
	"testing"
	"time"
)

func nine() SupervisorSpec {
	return under("root", RestForOne, Graph,
		service("identity"), service("storage", "identity"), service("node", "identity"), service("ledger", "identity"),
		service("social", "identity", "storage"), service("indexer", "storage"),
		service("analytics", "storage", "ledger", "social", "indexer"),
		service("wallet", "identity", "ledger"),
		service("telemetry", "identity", "storage", "node", "ledger", "social", "indexer", "analytics"))
}

func TestNineServices(t *testing.T) {
	w := newWorld(t, nine(), Options{})
	w.boot()
	if got, want := w.take(), "+identity +storage +node +ledger +social +indexer +wallet +analytics +telemetry"; got != want {
		t.Errorf("boot:\n got %s\nwant %s", got, want)
	}
	if w.booted == nil || len(w.booted.Failed) != 0 {
		t.Errorf("booted: %v", w.booted)
	}
	tests := []struct{ crash, want string }{
		{"ledger", "*ledger -wallet -telemetry -analytics +ledger +wallet +analytics +telemetry"},
		{"telemetry", "*telemetry +telemetry"},
		{"identity", "*identity -node -wallet -telemetry -analytics -ledger -social -indexer -storage +identity"},
	}
	for _, tt := range tests {
		w.crash(ChildID(tt.crash))
		w.run(0)
		got := w.take()
		if len(got) < len(tt.want) || got[:len(tt.want)] != tt.want {
			t.Errorf("crash of %s:\n got %s\nwant %s", tt.crash, got, tt.want)
		}
		if s := w.states(); s != "" {
			t.Errorf("after the crash of %s: %s", tt.crash, s)
		}
	}
	w.send(ShutDown{})
	w.run(time.Minute)
	t.Log(w.take())
	if w.ended == nil || w.ended.Why != EndOrdered {
		t.Errorf("ended: %+v", w.ended)
	}
}

func TestSequenceRestForOne(t *testing.T) {
	w := newWorld(t, under("root", RestForOne, Sequence, service("a"), service("b"), service("c"), service("d")), Options{})
	w.boot()
	w.take()
	w.failures["c"] = 2
	w.crash("b")
	w.run(0)
	if got, want := w.take(), "*b -d -c +b +c !c +c !c +c +d"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
