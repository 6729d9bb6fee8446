package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// topModel is the full screen: what it shows, and what was typed.
type topModel struct {
	app      *app
	node     *client.Client
	interval time.Duration
	ctx      context.Context //nolint:containedctx // of the program: what it asks for ends with it
	cancel   context.CancelFunc
	news     chan tea.Msg // from the goroutines that ask the node

	width, height int
	at            *bhnodev1.WatchStatusResponse // nil: nothing was heard yet
	heard         time.Time
	away          string // why the node does not answer, "": it does
	use           useHistory
	selected      string
	first         int // the row at the top of the table
	sortBy        int // of topSorts
	filter        string
	typing        bool // the filter is being typed
	help          bool
	pane          topPane
	question      *topQuestion // nil: nothing is asked
	questions     int          // so far
	said          string       // what became of the last command
	failed        error        // why it ended
}

// topQuestion is a command that waits for a yes.
type topQuestion struct {
	number        int
	op            *operation
	told          bool       // the node was heard
	stops, starts [][]string // who is touched
	err           error
	first         int // the row at the top of the table before it took its room
}

// What the goroutines tell.
type (
	topNews  struct{ now *bhnodev1.WatchStatusResponse }
	topAway  struct{ why string }
	topTold  struct{ question topQuestion }
	topDone  struct{ said string }
	topLines struct {
		generation int
		lines      []string
	}
)

func newTopModel(ctx context.Context, a *app, node *client.Client, interval time.Duration) *topModel {
	m := &topModel{app: a, node: node, interval: interval, news: make(chan tea.Msg)}
	m.ctx, m.cancel = context.WithCancel(ctx)
	return m
}

// leave ends what the goroutines do.
func (m *topModel) leave() {
	m.cancel()
	m.pane.close()
}

// Init implements tea.Model.
func (m *topModel) Init() tea.Cmd {
	go m.watch()
	return m.listen
}

// listen waits for one message of a goroutine.
func (m *topModel) listen() tea.Msg {
	select {
	case msg := <-m.news:
		return msg
	case <-m.ctx.Done():
		return nil
	}
}

// tell hands a message over; it reports whether the program still runs.
func (m *topModel) tell(msg tea.Msg) bool {
	select {
	case m.news <- msg:
		return true
	case <-m.ctx.Done():
		return false
	}
}

// watch hears from the node, and again when it was away: it may be upgraded meanwhile.
func (m *topModel) watch() {
	for m.ctx.Err() == nil {
		stream, err := watchUse(m.ctx, m.node, m.interval)
		if err == nil {
			err = each(m.ctx, stream.Recv, func(now *bhnodev1.WatchStatusResponse) error {
				m.tell(topNews{now})
				return nil
			})
		}
		why := topGone + "; connecting again until it is there"
		if err != nil && !nodeGone(err) {
			why = rpcMessage(err)
		}
		if !m.tell(topAway{why}) {
			return
		}
		select {
		case <-time.After(m.interval):
		case <-m.ctx.Done():
		}
	}
}

// topGone is said where nobody listens any more.
const topGone = "the node is gone"

// nodeGone tells whether nobody answered: a node that stops or is silent says so itself.
func nodeGone(err error) bool {
	if errors.Is(err, errWentAway) {
		return true
	}
	return client.IsNoNode(err) && !strings.HasPrefix(rpcMessage(err), "the node ")
}

// topError is what a call ended with, for the screen.
func topError(err error) string {
	if nodeGone(err) {
		return topGone
	}
	return safeText(rpcMessage(err))
}

// Update implements tea.Model.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m, nil
	case tea.KeyPressMsg:
		return m, m.key(msg.String(), msg.Text)
	case topNews:
		m.at, m.heard, m.away = msg.now, m.app.now(), ""
		m.use.add(m.heard, msg.now)
		m.keepSelection()
		m.follow()
	case topAway:
		m.away = msg.why
	case topTold:
		if m.question != nil && m.question.number == msg.question.number { // else it was called off
			m.question = &msg.question
		}
	case topDone:
		m.said = msg.said
	case topLines:
		m.pane.add(msg)
	default:
		return m, nil
	}
	return m, m.listen
}

// view is what is drawn of what was heard.
func (m *topModel) view() *topView {
	return &topView{
		screen: m.app.out, width: m.width, now: m.app.now(), at: m.at, use: &m.use,
		sortBy: topSorts[m.sortBy], filter: m.filter, selected: m.selected,
	}
}

// keepSelection selects a row that is there.
func (m *topModel) keepSelection() {
	rows := m.view().rows()
	if len(rows) == 0 {
		m.selected = ""
		return
	}
	if m.index(rows) < 0 {
		first := max(slices.IndexFunc(rows, func(r topRow) bool { return r.service != nil }), 0)
		m.selected = rows[first].node.GetName()
	}
}

func (m *topModel) index(rows []topRow) int {
	return slices.IndexFunc(rows, func(r topRow) bool { return r.node.GetName() == m.selected })
}

// isSupervisor tells whether a row is one.
func (m *topModel) isSupervisor(name string) bool {
	return slices.ContainsFunc(m.view().rows(), func(r topRow) bool { return r.service == nil && r.node.GetName() == name })
}

// move selects another row.
func (m *topModel) move(by int) {
	if m.at == nil {
		return
	}
	rows := m.view().rows()
	if len(rows) == 0 {
		return
	}
	i := min(max(m.index(rows)+by, 0), len(rows)-1)
	m.selected = rows[i].node.GetName()
	m.follow()
}

// key does what a key means.
func (m *topModel) key(key, text string) tea.Cmd {
	m.said = ""
	switch {
	case key == "ctrl+c":
		return tea.Quit
	case m.question != nil:
		return m.answer(key)
	case m.typing:
		m.typeFilter(key, text)
		return nil
	case m.help:
		m.help = false
		return nil
	}
	if by := m.steps(key); by != 0 {
		m.move(by)
		return nil
	}
	if key == "q" {
		return tea.Quit
	}
	m.arrange(key)
	return m.command(key)
}

// steps is by how many rows a key moves the selection.
func (m *topModel) steps(key string) int {
	page := max(m.tableRoom()-1, 1)
	return map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -page, "ctrl+b": -page, "pgdown": page, "ctrl+f": page,
		"home": -1 << 20, "g": -1 << 20, "end": 1 << 20, "G": 1 << 20,
	}[key]
}

// arrange changes what is shown, and how.
func (m *topModel) arrange(key string) {
	switch key {
	case "s":
		m.sortBy = (m.sortBy + 1) % len(topSorts)
	case "S":
		m.sortBy = (m.sortBy + len(topSorts) - 1) % len(topSorts)
	case "/":
		m.typing = true
	case "esc":
		m.filter, m.pane.large = "", false
	case "l":
		m.pane.show(paneLog)
		m.follow()
	case "e":
		m.pane.show(paneEvents)
		m.follow()
	case "enter":
		m.pane.large = !m.pane.large
	case "?", "h":
		m.help = true
	}
}

// typeFilter changes the filter.
func (m *topModel) typeFilter(key, text string) {
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	default:
		m.filter += text
	}
	if m.at != nil {
		m.selected = "" // the first that is left
		m.keepSelection()
		m.follow()
	}
}

// command asks whether to carry a command out.
func (m *topModel) command(key string) tea.Cmd {
	var op *operation
	switch key {
	case "r":
		op = restartOperation()
	case "x", "f9":
		op = stopOperation()
	case "u", "f7":
		op = startOperation()
	}
	if op == nil || m.selected == "" {
		return nil
	}
	op.names, op.dryRun = []string{m.selected}, true
	m.questions++
	q := topQuestion{number: m.questions, op: op, first: m.first}
	m.question = &q
	go m.foretell(q)
	return nil
}

// foretell asks the node who would be touched.
func (m *topModel) foretell(q topQuestion) {
	what, err := query(m.ctx, func(ctx context.Context) (*bhnodev1.Consequence, error) { return q.op.call(ctx, m.node, q.op) })
	q.told, q.err = true, err
	q.stops, q.starts = namesIn(what.GetStops()), namesIn(what.GetStarts())
	m.tell(topTold{q})
}

// answer takes the answer to a question.
func (m *topModel) answer(key string) tea.Cmd {
	q := m.question
	m.question, m.first = nil, q.first
	if key != "y" && key != "Y" || !q.told || q.err != nil {
		return nil
	}
	op := *q.op
	op.dryRun = false
	what := op.verb + " " + safeText(op.names[0])
	m.said = what + ": under way"
	go func() {
		_, err := op.call(m.ctx, m.node, &op)
		if err != nil {
			m.tell(topDone{what + " failed: " + topError(err)})
			return
		}
		m.tell(topDone{what + ": done"})
	}()
	return nil
}

// footer is the last line: the keys, or what was said or is typed.
func (m *topModel) footer() string {
	switch {
	case m.typing:
		return "filter: " + safeText(m.filter) + m.app.out.pick("▏", "_") + "  enter keep  esc clear"
	case m.said != "":
		return m.said
	}
	keys := []string{"? keys", "s by " + topSorts[m.sortBy], "/ filter", "l log", "e events", "r restart", "x stop", "u start", "q quit"}
	if m.filter != "" {
		keys = append([]string{fmt.Sprintf("filter %q (esc clears)", m.filter)}, keys...)
	}
	return strings.Join(keys, "  ")
}
