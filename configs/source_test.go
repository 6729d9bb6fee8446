package configs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc"
)

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // the umask is not asked
		t.Fatal(err)
	}
	return path
}

func TestFindLooksInOrder(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	named := write(t, filepath.Join(dir, "named.yaml"), "", 0o600)
	env := map[string]string{"HOME": dir, "XDG_CONFIG_HOME": filepath.Join(dir, "xdg"), "BHNODE_CONFIG": named}
	getenv := func(name string) string { return env[name] }
	etc := filepath.Join(dir, "etc")
	inEtc := write(t, filepath.Join(etc, "bhnode", "blackhole.yaml"), "", 0o600)
	inXDG := write(t, filepath.Join(dir, "xdg", "bhnode", "blackhole.yaml"), "", 0o600)
	inHome := write(t, filepath.Join(dir, ".config", "bhnode", "blackhole.yaml"), "", 0o600)
	here := write(t, filepath.Join(dir, "blackhole.yaml"), "", 0o600)

	expect := func(what, flag string, uid int, want Source) {
		t.Helper()
		got, err := find(flag, getenv, uid, etc)
		if err != nil || got != want {
			t.Errorf("%s: found %+v (%v), want %+v", what, got, err, want)
		}
	}
	expect("flag before variable", here, 1000, Source{Path: here})
	expect("variable before directory", "", 1000, Source{Path: named})
	delete(env, "BHNODE_CONFIG")
	expect("working directory", "", 1000, Source{Path: "blackhole.yaml"})
	expect("root does not look in the working directory", "", 0, Source{Path: inXDG, PassedOver: "blackhole.yaml"})
	delete(env, "XDG_CONFIG_HOME")
	expect("home", "", 0, Source{Path: inHome, PassedOver: "blackhole.yaml"})
	t.Chdir(filepath.Dir(inHome))
	expect("home, from there", "", 0, Source{Path: inHome})
	t.Chdir(dir)
	delete(env, "HOME")
	expect("etc", "", 0, Source{Path: inEtc, PassedOver: "blackhole.yaml"})
	if err := os.Remove(inEtc); err != nil {
		t.Fatal(err)
	}
	expect("nothing there", "", 0, Source{Embedded: true, PassedOver: "blackhole.yaml"})

	if _, err := find(filepath.Join(dir, "gone"), getenv, 0, etc); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a named file that is not there gives %v", err)
	}
	env["XDG_CONFIG_HOME"] = named // a file where a directory should be
	expect("no directory", "", 0, Source{Embedded: true, PassedOver: "blackhole.yaml"})
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	env["XDG_CONFIG_HOME"] = loop
	if _, err := find("", getenv, 0, etc); err == nil {
		t.Error("a place that cannot be looked at is passed over")
	}
	if _, err := Find(named, getenv); err != nil {
		t.Errorf("Find: %v", err)
	}
	if err := os.Remove(here); err != nil {
		t.Fatal(err)
	}
	delete(env, "XDG_CONFIG_HOME")
	expect("nothing to pass over", "", 0, Source{Embedded: true})
}

func TestSourceNamesItself(t *testing.T) {
	if got := (Source{Path: "./x.yaml"}).String(); got != "./x.yaml" {
		t.Errorf("a file is called %q", got)
	}
	if got := (Source{Embedded: true}).String(); got != "embedded default" {
		t.Errorf("the embedded default is called %q", got)
	}
}

func TestEmbeddedDirectories(t *testing.T) {
	for _, test := range []struct {
		env            map[string]string
		uid            int
		state, runtime string
	}{
		{map[string]string{"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}, 1000, "/s/bhnode", "/r/bhnode"},
		{map[string]string{"HOME": "/h"}, 1000, "/h/.local/state/bhnode", "/tmp/bhnode-1000"},
		{map[string]string{"HOME": "/h", "XDG_STATE_HOME": "relative", "XDG_RUNTIME_DIR": ""}, 0, "/h/.local/state/bhnode", "/run/bhnode"},
	} {
		m := testMachine(test.env)
		m.uid = test.uid
		state, runtime, err := m.embeddedDirs()
		if err != nil || state != test.state || runtime != test.runtime {
			t.Errorf("%v: %s and %s (%v), want %s and %s", test.env, state, runtime, err, test.state, test.runtime)
		}
	}
	m := testMachine(nil)
	m.uid = 4_000_000_000 // nobody has it
	if _, err := load(Source{Embedded: true}, m); err == nil || !strings.Contains(err.Error(), "embedded default: there is no home directory") {
		t.Errorf("without a home directory: %v", err)
	}
}

func TestEmbeddedDirectoriesMustBePrivate(t *testing.T) {
	dir := t.TempDir()
	m := testMachine(nil)
	m.uid = os.Getuid()
	mkdir := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := mkdir("good", 0o700)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	stranger := m
	stranger.uid++
	for _, test := range []struct {
		m    machine
		path string
		want string
	}{
		{m, good, ""},
		{m, filepath.Join(dir, "absent"), ""},
		{m, mkdir("open", 0o755), "has mode 0755"},
		{m, link, "is a symbolic link"},
		{m, write(t, filepath.Join(dir, "file"), "", 0o600), "is not a directory"},
		{m, filepath.Join(dir, "file", "x"), "not a directory"},
		{stranger, good, "must be our own"},
	} {
		err := test.m.checkPrivate(test.path)
		if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.path, err, test.want)
		}
	}
	m.getenv = lookupIn(map[string]string{"XDG_STATE_HOME": filepath.Join(dir, "x"), "XDG_RUNTIME_DIR": dir})
	mkdir("bhnode", 0o755)
	if _, err := load(Source{Embedded: true}, m); err == nil || !strings.Contains(err.Error(), "must be 0700") {
		t.Errorf("the embedded default in an open directory: %v", err)
	}
}

func TestRootRefusesWhatOthersMayWrite(t *testing.T) {
	dir := t.TempDir()
	root := testMachine(testEnv)
	root.uid = 0
	if os.Getuid() != 0 { // what this test writes is another's, for root
		path := write(t, filepath.Join(dir, "x.yaml"), "services: {}\n", 0o600)
		if _, err := load(Source{Path: path}, root); err == nil || !strings.Contains(err.Error(), "it belongs to uid") {
			t.Errorf("a file of another user: %v", err)
		}
	}
	open := write(t, filepath.Join(dir, "open"), "#!/bin/sh\n", 0o777)
	if _, err := load(Source{Path: open}, root); err == nil || !strings.HasPrefix(err.Error(), open+": others may write it (mode 0777)") {
		t.Errorf("a file that others may write: %v", err)
	}
	_, err := parse(t, root, `
services:
  a:
    command: ["`+open+`"]
    env_file: `+open+`
    hooks: {pre_start: [["`+open+`"]], post_stop: "`+open+` x"}
    health_check: {type: exec, target: ["`+open+`"]}
  off: {enabled: false, command: ["`+open+`"], env_file: /nowhere}
  host:
`)
	var all Errors
	if !errors.As(err, &all) || len(all) != 5 {
		t.Fatalf("errors are\n%v\nwant five", err)
	}
	for _, e := range all {
		if !strings.Contains(e.Message, "others may write it (mode 0777)") {
			t.Errorf("error is %v", e)
		}
	}
	if _, err := parse(t, testMachine(nil), "services: {a: {command: ["+open+"]}}"); err != nil {
		t.Errorf("anybody but root may run it: %v", err)
	}
}

func TestRootRefusesWhatOthersMayReplace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs files of root: CI runs it")
	}
	root := testMachine(testEnv)
	root.uid = 0
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o700); err != nil {
		t.Fatal(err)
	}
	program, link := write(t, filepath.Join(shared, "program"), "#!/bin/sh\n", 0o755), filepath.Join(dir, "link")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		dir, file fs.FileMode
		gid       int
		want      string // "": it may be used
	}{
		"root's alone":                      {0o755, 0o755, 0, ""},
		"a directory that all may write":    {0o777, 0o755, 0, shared + " has mode 0777"},
		"that all may write, sticky":        {0o777 | fs.ModeSticky, 0o755, 0, ""},
		"a group's":                         {0o755, 0o775, 1, "others may write it (mode 0775)"},
		"root's group's":                    {0o755, 0o775, 0, ""},
		"a group's, which may only read it": {0o755, 0o755, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, err := range []error{os.Chown(program, 0, test.gid), os.Chmod(program, test.file), os.Chmod(shared, test.dir)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, path := range []string{program, link} {
				_, err := parse(t, root, "services: {a: {command: ["+path+"]}}")
				if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("%s: %v, want %q", path, err, test.want)
				}
			}
		})
	}
}

func TestControlSocket(t *testing.T) {
	dir := t.TempDir()
	none := func(string) (string, bool) { return "", false }
	for name, test := range map[string]struct{ text, want string }{
		"default":      {"services: {}", dir + "/run/bhnode.sock"},
		"runtime_dir":  {"node: {runtime_dir: /r}", "/r/bhnode.sock"},
		"socket":       {"node: {runtime_dir: /r}\ncontrol: {socket: s.sock}", dir + "/s.sock"},
		"broken rest":  {"nodee: 1\nnode: {runtime_dir: /r, boot: 7}\nservices: [\"${UNSET}\"]", "/r/bhnode.sock"},
		"broken parts": {"node: 5\ncontrol: []", dir + "/run/bhnode.sock"},
	} {
		path := write(t, filepath.Join(dir, "x.yaml"), test.text, 0o600)
		got, err := ControlSocket(Source{Path: path}, none)
		if err != nil || got != test.want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, test.want)
		}
	}
	for name, text := range map[string]string{"unset": "node: {runtime_dir: \"${UNSET}\"}", "syntax": "a: ["} {
		path := write(t, filepath.Join(dir, "x.yaml"), text, 0o600)
		if got, err := ControlSocket(Source{Path: path}, none); err == nil {
			t.Errorf("%s: %s, want an error", name, got)
		}
	}
	if got, err := ControlSocket(Source{Path: dir}, none); err == nil {
		t.Errorf("directory: %s, want an error", got)
	}
	env := lookupIn(map[string]string{"XDG_STATE_HOME": dir, "XDG_RUNTIME_DIR": "/nowhere"})
	if got, err := ControlSocket(Source{Embedded: true}, env); err != nil || got != "/nowhere/bhnode/run/bhnode.sock" {
		t.Errorf("embedded: %s (%v)", got, err)
	}
}

func TestEnvFile(t *testing.T) {
	vars, mistakes := parseEnvFile(`
# comment
PLAIN=value
export EXPORTED = spaced out   # comment
HASH=a#b
EMPTY=
SINGLE='a $x # "q" \n'
DOUBLE="a\tb\n\"c\" \$d \x" # comment
URL=postgres://u:p@h/?a=b
`)
	if len(mistakes) > 0 {
		t.Errorf("mistakes %v", mistakes)
	}
	want := []proc.EnvVar{
		{Name: "PLAIN", Value: "value"},
		{Name: "EXPORTED", Value: "spaced out"},
		{Name: "HASH", Value: "a#b"},
		{Name: "EMPTY", Value: ""},
		{Name: "SINGLE", Value: `a $x # "q" \n`},
		{Name: "DOUBLE", Value: "a\tb\n\"c\" $d \\x"},
		{Name: "URL", Value: "postgres://u:p@h/?a=b"},
	}
	if diff := cmp.Diff(want, vars); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if _, mistakes := parseEnvFile("A=\x00\n"); len(mistakes) != 1 {
		t.Errorf("a NUL byte gives %v", mistakes)
	}
}

func TestErrorsPrintAndUnwrap(t *testing.T) {
	one := &Error{File: "x.yaml", Message: "is wrong", Hint: "mend it"}
	two := &Error{File: "x.yaml", Line: 3, Column: 150, Path: "a.b", Message: "is wrong", Excerpt: strings.Repeat("é", 149) + "\x1b[31mX" + strings.Repeat("y", 100)}
	text := Errors{one, two}.Error()
	if !strings.HasPrefix(text, "x.yaml: is wrong\n  mend it\nx.yaml:3:150: a.b: is wrong\n") {
		t.Errorf("errors print as\n%s", text)
	}
	lines := strings.Split(text, "\n")
	excerpt, caret := []rune(lines[3]), []rune(lines[4])
	if strings.ContainsRune(text, '\x1b') || len(excerpt) != excerptWidth+len("  3 | ") || excerpt[len(caret)-1] != '\ufffd' {
		t.Errorf("the long line is shown as\n%s\n%s", lines[3], lines[4])
	}
	if !errors.Is(Errors{one, two}, two) {
		t.Error("Errors does not unwrap to its parts")
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "blackhole.yaml", "minimal.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(elaborate)
	f.Add(secretive)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(t, testMachine(testEnv), text)
		if err != nil {
			_ = err.Error()
			return
		}
		shown := c.Show()
		if strings.Contains(shown, "swordfish") {
			t.Errorf("a secret is shown:\n%s", shown)
		}
		if strings.Contains(shown, mask) {
			return
		}
		again, err := parse(t, testMachine(testEnv), shown)
		if err != nil {
			t.Fatalf("what is shown is refused: %v\n%s\nfrom\n%s", err, shown, text)
		}
		if second := again.Show(); second != shown {
			t.Errorf("shown again (-first +second):\n%s\nfrom\n%s", cmp.Diff(shown, second), text)
		}
	})
}
