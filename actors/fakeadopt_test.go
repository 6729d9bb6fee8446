package actors

import "github.com/blackhole/bhnode/proc"

// Adopted is a process that lives on from a life of the node before.
func (b *fakeBackend) Adopted(service string, incarnation uint64) Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.lives[service] {
		if p.inc == incarnation && !p.released {
			return p
		}
	}
	return nil
}

func (b *fakeBackend) Intake(string) (*proc.Intake, error) { return nil, nil }

func (b *fakeBackend) Isolation() proc.Isolation { return proc.Isolation{Backend: "memory"} }
