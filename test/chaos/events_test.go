package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// event is a line of the journal.
type event struct {
	Seq         uint64
	Time        time.Time
	Type        string
	Service     string
	Supervisor  string
	Incarnation uint64
	Pid         int
	Cause       uint64
	Message     string
	Attrs       map[string]any
}

func (e event) String() string {
	attrs, _ := json.Marshal(e.Attrs)
	return fmt.Sprintf("%s %5d <- %-5d %-21s %s%s/%d pid %d %s %s",
		e.Time.Format("05.000"), e.Seq, e.Cause, e.Type, e.Service, e.Supervisor, e.Incarnation, e.Pid, e.Message, attrs)
}

// word is an attribute that is a word.
func (e event) word(key string) string {
	s, _ := e.Attrs[key].(string)
	return s
}

// readEvents calls take for each line.
func readEvents(in io.Reader, take func(event)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("%w in %s", err, lines.Bytes())
		}
		take(e)
	}
	return lines.Err()
}

// readJournal reads the journal on disk.
func readJournal(path string) ([]event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var all []event
	err = readEvents(f, func(e event) { all = append(all, e) })
	return all, err
}
