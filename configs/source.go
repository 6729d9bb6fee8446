package configs

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed blackhole.yaml
var embedded []byte

//go:embed blackhole.schema.json
var schemaFile []byte

// Schema returns the JSON Schema of the configuration language, for editors.
func Schema() []byte { return append([]byte(nil), schemaFile...) }

// Default returns the embedded default configuration.
func Default() []byte { return append([]byte(nil), embedded...) }

// Source is where a configuration comes from.
type Source struct {
	Path     string // "" for the embedded default
	Embedded bool
	// PassedOver is a file in the working directory, which anybody but root would use.
	PassedOver string
}

// warnings say what was not used that somebody may think is.
func (s Source) warnings() []string {
	if s.PassedOver == "" {
		return nil
	}
	return []string{"./" + s.PassedOver + " is not used, as root takes no file just since it is in the working directory: --config " + s.PassedOver}
}

// String returns the path as it was found.
func (s Source) String() string {
	if s.Embedded {
		return "embedded default"
	}
	return s.Path
}

// Find returns the configuration to use: flag, else $BHNODE_CONFIG, else the
// first that exists of ./blackhole.yaml (not as root),
// $XDG_CONFIG_HOME/bhnode/blackhole.yaml and /etc/bhnode/blackhole.yaml, else the
// embedded default. A file that was named must exist.
func Find(flag string, getenv func(string) string) (Source, error) {
	return find(flag, getenv, os.Getuid(), "/etc")
}

func find(flag string, getenv func(string) string, uid int, etc string) (Source, error) {
	for _, named := range []string{flag, getenv("BHNODE_CONFIG")} {
		if named == "" {
			continue
		}
		if _, err := os.Stat(named); err != nil {
			return Source{}, fmt.Errorf("cannot read the configuration: %w", err)
		}
		return Source{Path: named}, nil
	}
	const here = "blackhole.yaml"
	var places []string
	var passedOver fs.FileInfo
	if uid != 0 {
		places = append(places, here)
	} else {
		passedOver, _ = os.Stat(here) // nil: there is none
	}
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		places = append(places, filepath.Join(dir, "bhnode", "blackhole.yaml"))
	} else if home := getenv("HOME"); filepath.IsAbs(home) {
		places = append(places, filepath.Join(home, ".config", "bhnode", "blackhole.yaml"))
	}
	places = append(places, filepath.Join(etc, "bhnode", "blackhole.yaml"))
	for _, place := range places {
		switch info, err := os.Stat(place); {
		case err == nil && (passedOver == nil || os.SameFile(info, passedOver)):
			return Source{Path: place}, nil
		case err == nil:
			return Source{Path: place, PassedOver: here}, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return Source{}, fmt.Errorf("cannot read the configuration: %w", err)
		}
	}
	if passedOver != nil {
		return Source{Embedded: true, PassedOver: here}, nil
	}
	return Source{Embedded: true}, nil
}

// read returns the text of a source and sets what its relative paths start from.
func (d *decoder) read(src Source) (data string, ok bool) {
	if src.Embedded {
		var err error
		if d.base, d.socketBase, err = d.machine.embeddedDirs(); err != nil {
			d.fail(pos{}, "", "", "%s", err)
			return "", false
		}
		for _, dir := range []string{d.base, d.socketBase} {
			if err := d.machine.checkPrivate(dir); err != nil {
				d.fail(pos{}, "", "", "%s", err)
			}
		}
		return string(embedded), len(d.errs) == 0
	}
	absolute, err := filepath.Abs(src.Path)
	if err != nil {
		d.fail(pos{}, "", "", "cannot be found: %s", err)
		return "", false
	}
	d.base = filepath.Dir(absolute)
	d.socketBase = d.base
	content, err := d.machine.readTrusted(src.Path)
	if err != nil {
		d.fail(pos{}, "", "", "%s", err)
		return "", false
	}
	return plainText(content), true
}

// plainText drops what only some editors write: a byte order mark, and carriage
// returns at the ends of lines.
func plainText(content []byte) string {
	s := strings.TrimPrefix(string(content), "\ufeff")
	return strings.ReplaceAll(s, "\r\n", "\n")
}

// readTrusted reads a file that nobody else may write, if we are root.
func (m machine) readTrusted(path string) ([]byte, error) {
	if content, kept := m.files.kept(path); kept {
		return content, nil
	}
	content, err := m.readFile(path)
	if err == nil {
		m.files.note(path, content)
	}
	return content, err
}

func (m machine) readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", unwrapPath(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", unwrapPath(err))
	}
	if !info.Mode().IsRegular() && info.IsDir() {
		return nil, errors.New("cannot be read: it is a directory")
	}
	if why := m.distrust(path, info); why != "" && info.Mode().IsRegular() {
		return nil, errors.New(why)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", unwrapPath(err))
	}
	return content, nil
}

// unwrapPath drops the path from an error that is printed beside it.
func unwrapPath(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}
