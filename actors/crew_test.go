package actors

import (
	"sync"
	"testing"
	"testing/synctest"
)

// TestACrewRunsWhatComes gives it more than may wait afterwards, from inside too, and ends it with
// some that work still; synctest sees that all of them end.
func TestACrewRunsWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew()
		var all sync.WaitGroup
		start := make(chan struct{})
		all.Add(4 * mostIdle)
		for range 2 * mostIdle {
			c.Schedule(func() {
				<-start
				c.Schedule(all.Done)
				all.Done()
			})
		}
		close(start)
		all.Wait()
		synctest.Wait()
		if n := len(c.idle); n != mostIdle {
			t.Errorf("%d wait for something to do, want %d", n, mostIdle)
		}
		late := make(chan struct{})
		c.Schedule(func() { <-late })
		c.end()
		done := make(chan struct{})
		c.Schedule(func() { close(done) }) // an actor may stop last
		<-done
		close(late)
	})
}
