package logstore

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAListingTellsWhoHasNothing opens logs by a listing as without one: whatever is left of a
// log, its numbers go on.
func TestAListingTellsWhoHasNothing(t *testing.T) {
	o := options(t)
	for _, raw := range []bool{false, true} {
		o.Raw, o.Service = raw, map[bool]string{false: "web.log", true: "web"}[raw]
		s := openStore(t, o)
		appendAll(t, s, lines(1, 3))
		closeStore(t, s)
	}
	if err := os.Rename(filepath.Join(o.Dir, "web.log.log"), filepath.Join(o.Dir, "web.log.log.1")); err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]uint64{"web.log": 3, "web": 3, "we": 0, "web.log.log": 0} {
		o.Service, o.Raw, o.Listing = service, service == "web", List(o.Dir)
		if got := openStore(t, o).LastSeq(); got != want {
			t.Errorf("%s goes on after line %d, want %d", service, got, want)
		}
		if got := o.Listing.lacks(service); got != (want == 0) {
			t.Errorf("%s has nothing: %v", service, got)
		}
	}
	if List("/dev/null/logs") != nil {
		t.Error("listed below a file")
	}
}
