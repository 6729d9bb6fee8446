package configs

import (
	"maps"
	"path/filepath"
)

// Snapshot is all that a configuration was read from, to read it again as it was. It holds
// secrets.
type Snapshot struct {
	Path     string            `json:"path,omitempty"` // "": the embedded default
	Text     string            `json:"text"`
	EnvFiles map[string]string `json:"env_files,omitempty"` // by path
}

// Snapshot returns what c was read from.
func (c *Config) Snapshot() Snapshot {
	s := Snapshot{Path: c.Source.Path, Text: c.text, EnvFiles: maps.Clone(c.files)}
	if s.Path != "" {
		if absolute, err := filepath.Abs(s.Path); err == nil { // it may be read from elsewhere
			s.Path = absolute
		}
	}
	return s
}

// Same tells whether two snapshots are of the same configuration.
func (s Snapshot) Same(o Snapshot) bool {
	return s.Path == o.Path && s.Text == o.Text && maps.Equal(s.EnvFiles, o.EnvFiles)
}

// Source is where it was read from.
func (s Snapshot) Source() Source { return Source{Path: s.Path, Embedded: s.Path == ""} }

// Load reads the configuration again, from s alone. The error is Errors.
func (s Snapshot) Load(getenv func(string) (string, bool)) (*Config, error) {
	m, err := thisMachine(getenv)
	if err != nil {
		return nil, Errors{{File: s.Source().String(), Message: err.Error()}}
	}
	m.files.from = maps.Clone(s.EnvFiles)
	if m.files.from == nil {
		m.files.from = map[string]string{}
	}
	if s.Path != "" {
		m.files.from[s.Path] = s.Text
	}
	c, err := load(s.Source(), m)
	if err == nil {
		c.files = maps.Clone(s.EnvFiles)
	}
	return c, err
}

// files are those that a configuration is read from.
type files struct {
	from map[string]string // nil: the file system
	read map[string]string
}

func (f *files) kept(path string) ([]byte, bool) {
	if f == nil {
		return nil, false
	}
	content, ok := f.from[path]
	return []byte(content), ok
}

func (f *files) note(path string, content []byte) {
	if f == nil {
		return
	}
	if f.read == nil {
		f.read = map[string]string{}
	}
	f.read[path] = string(content)
}

// others are those that were read besides one.
func (f *files) others(path string) map[string]string {
	if f == nil {
		return nil
	}
	others := maps.Clone(f.read)
	delete(others, path)
	return others
}
