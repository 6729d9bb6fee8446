package actors

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox keeps messages back until its actor is there. The library makes a name
// known before the actor can take anything: who sends to it just then, since there
// was a predecessor of that name, would panic, or be heard before Started.
type mailbox struct {
	actor.Mailbox
	open  atomic.Bool
	mu    sync.Mutex
	early []func() // posts what has come too early
}

func newMailbox() actor.Mailbox { return &mailbox{Mailbox: actor.Unbounded()()} }

// mailboxes are those of all actors, by name; a successor takes the place of its
// predecessor.
type mailboxes struct{ all sync.Map }

// of makes the mailbox of an actor.
func (m *mailboxes) of(name string) actor.MailboxProducer {
	return func() actor.Mailbox {
		box := newMailbox()
		m.all.Store(name, box)
		return box
	}
}

// waiting counts the messages that wait, by kind of actor.
func (m *mailboxes) waiting(kindOf func(name string) string) map[string]int {
	counts := map[string]int{}
	m.all.Range(func(name, box any) bool {
		counts[kindOf(name.(string))] += box.(actor.Mailbox).UserMessageCount() //nolint:forcetypeassert // as stored
		return true
	})
	return counts
}

// PostUserMessage implements actor.Mailbox.
func (m *mailbox) PostUserMessage(message any) {
	if m.open.Load() || !m.keep(func() { m.Mailbox.PostUserMessage(message) }) {
		m.Mailbox.PostUserMessage(message)
	}
}

// PostSystemMessage implements actor.Mailbox.
func (m *mailbox) PostSystemMessage(message any) {
	_, first := message.(*actor.Started)
	if first || m.open.Load() || !m.keep(func() { m.Mailbox.PostSystemMessage(message) }) {
		m.Mailbox.PostSystemMessage(message)
	}
}

// keep tells whether a message was kept back.
func (m *mailbox) keep(post func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open.Load() {
		return false
	}
	m.early = append(m.early, post)
	return true
}

// Start implements actor.Mailbox; Started was posted before it.
func (m *mailbox) Start() {
	m.Mailbox.Start()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, post := range m.early {
		post()
	}
	m.early = nil
	m.open.Store(true)
}
