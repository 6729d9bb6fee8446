package shim

import (
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArgsComeBack(t *testing.T) {
	nice, score, mask := -5, 300, 0o027
	for name, b := range map[string]*Birth{
		"nothing": {Path: "/bin/true"},
		"all": {
			Path: "/a b,c/d", Dir: "/x y", Joins: 4, OpenFiles: 100, Nice: &nice, OOMScoreAdj: &score, Umask: &mask,
			NoNewPrivs: true, Capabilities: &[]int{0, 10}, As: &User{UID: 1, GID: 2, Groups: []int{3, 4}}, Mortal: 7,
		},
		"no capability": {Path: "/bin/true", Capabilities: &[]int{}, As: &User{UID: 65534, GID: 65534, Groups: []int{}}},
	} {
		t.Run(name, func(t *testing.T) {
			args := b.Args([]string{"prog", "-x"})
			got, ok := decode(args[2], args[3], args[4])
			if diff := cmp.Diff(b, got); diff != "" || !ok {
				t.Errorf("%t (-want +got):\n%s", ok, diff)
			}
			if diff := cmp.Diff([]string{"prog", "-x"}, args[5:]); diff != "" {
				t.Errorf("argv (-want +got):\n%s", diff)
			}
		})
	}
	for _, torn := range []string{"nice", "fly 1", "joins x", "user 1"} {
		if _, ok := decode(torn, "", ""); ok {
			t.Errorf("%q was understood", torn)
		}
	}
}

func TestOwnArgs(t *testing.T) {
	if diff := cmp.Diff(os.Args, OwnArgs()); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

// TestImportsLittle holds that the shim begins before all else: it is made ready as soon
// as what it imports is, in the order of the packages' names.
func TestImportsLittle(t *testing.T) {
	for _, path := range []string{"shim.go", "encode.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if name := strings.Trim(i.Path.Value, `"`); !slices.Contains([]string{"runtime", "strconv", "syscall", "unsafe"}, name) {
				t.Errorf("%s imports %s", path, name)
			}
		}
	}
}

func TestErrorsComeBack(t *testing.T) {
	want := &Error{What: "cannot join the groups", Errno: 16}
	got, ok := DecodeError(string(want.encode()))
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("%t (-want +got):\n%s", ok, diff)
	}
	if _, ok := DecodeError("torn"); ok {
		t.Error("a torn report was understood")
	}
}
