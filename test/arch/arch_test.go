// Package arch holds the rules of the layers that no linter knows.
package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/blackhole/bhnode/"
	actor  = "github.com/asynkron/protoactor-go"

	maxLines = 400
)

// layers lists what each layer may import of ours. What is absent may import all.
var layers = map[string][]string{
	"supervision": nil,
	"proc":        {"proc"},
	"proto":       {"proto"},
	"configs":     {"configs", "supervision", "proc"},
	"actors":      {"actors", "supervision", "proc", "proto"},
}

// owners lists who alone may import what is not ours.
var owners = []struct{ pkg, owner string }{
	{actor, "actors"},
	{actor + "/remote", "actors/gateway"},
	{"github.com/containerd", "proc"},
	{"github.com/shirou", "proc"},
}

// source is one Go file of the repository, by its path from the root.
type source struct {
	path string
	test bool
	text []byte
	ast  *ast.File
	pos  *token.FileSet
}

// committed lists the files of the repository, those to be committed included.
func committed(t *testing.T) []string {
	t.Helper()
	git := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = root
	out, err := git.Output()
	if err != nil { // not a clone: a source archive
		return walked(t)
	}
	return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
}

func walked(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil && !os.IsNotExist(err) { // deleted and not yet committed
		t.Fatal(err)
	}
	return text
}

// sources parses every Go file that no tool has generated.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, path := range committed(t) {
		text := read(t, path)
		if !strings.HasSuffix(path, ".go") || strings.Contains(path, "testdata/") || len(text) == 0 {
			continue
		}
		pos := token.NewFileSet()
		file, err := parser.ParseFile(pos, path, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if !ast.IsGenerated(file) {
			all = append(all, source{path, strings.HasSuffix(path, "_test.go"), text, file, pos})
		}
	}
	return all
}

func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func (s source) imports(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, spec := range s.ast.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestSupervisionOnlyDecides(t *testing.T) {
	for _, s := range sources(t) {
		if !under(s.path, "supervision") || s.test {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
				t.Errorf("%v: %T: supervision is pure", s.pos.Position(n.Pos()), n)
			}
			return true
		})
		for _, path := range s.imports(t) {
			if strings.Contains(path, ".") {
				t.Errorf("%s imports %s: supervision needs the standard library only", s.path, path)
			}
		}
	}
}

func TestLayers(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || under(s.path, "test") {
			continue
		}
		layer, _, _ := strings.Cut(s.path, "/")
		allowed, limited := layers[layer]
		for _, path := range s.imports(t) {
			ours, isOurs := strings.CutPrefix(path, module)
			if isOurs && limited && !slices.ContainsFunc(allowed, func(dir string) bool { return under(ours, dir) }) {
				t.Errorf("%s imports %s: not from this layer", s.path, path)
			}
			for _, o := range owners {
				if under(path, o.pkg) && !under(s.path, o.owner) {
					t.Errorf("%s imports %s: that is for %s alone", s.path, path, o.owner)
				}
			}
		}
	}
}

func TestFilesAnswerOneQuestion(t *testing.T) {
	for _, s := range sources(t) {
		if lines := bytes.Count(s.text, []byte("\n")); lines > maxLines {
			t.Errorf("%s has %d lines, want at most %d", s.path, lines, maxLines)
		}
	}
}

// TestNoPathOfOneMachine finds absolute paths of somebody's home or work directory.
// Alice is the user of the examples.
func TestNoPathOfOneMachine(t *testing.T) {
	private := regexp.MustCompile(`(^|[^\w./~$}-])/(` + strings.Join([]string{"home", "root", "work", "Users"}, "|") + `)/\w`)
	for _, path := range committed(t) {
		for i, line := range bytes.Split(read(t, path), []byte("\n")) {
			if private.Match(bytes.ReplaceAll(line, []byte("/home/alice"), nil)) {
				t.Errorf("%s:%d: a path of one machine: %s", path, i+1, bytes.TrimSpace(line))
			}
		}
	}
}
