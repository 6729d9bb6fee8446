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

const nineUp = "+identity +storage +node +ledger +social +indexer +wallet +analytics +telemetry"

func TestNineServices(t *testing.T) {
	w := newWorld(t, nine(), Options{})
	w.boot()
	w.want(nineUp)
	if w.booted == nil || len(w.booted.Failed) != 0 {
		t.Errorf("booted: %v", w.booted)
	}
	tests := []struct{ crash, want string }{
		{"ledger", "*ledger -telemetry -wallet -analytics +ledger +analytics +wallet +telemetry"},
		{"telemetry", "*telemetry +telemetry"},
		{"identity", "*identity -telemetry -wallet -node -analytics -ledger -social -indexer -storage " + nineUp},
	}
	for _, tt := range tests {
		w.crash(ChildID(tt.crash))
		w.run(0)
		w.want(tt.want)
		w.wantStates("")
	}
	w.send(ShutDown{})
	w.run(time.Minute)
	w.want("-telemetry -wallet -node -analytics -ledger -social -indexer -storage -identity")
	if w.ended == nil || w.ended.Why != EndOrdered {
		t.Errorf("ended: %+v", w.ended)
	}
}
