package vm

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"testing"
)

// archive is an initramfs: a cpio archive in the format newc, as the kernel reads it
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	bytes.Buffer
	inode int
}

func (a *archive) add(name string, mode fs.FileMode, kind int, data []byte) {
	a.inode++
	fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.inode, kind|int(mode.Perm()), 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() { a.Write(make([]byte, (4-a.Len()%4)%4)) }

const (
	regular   = 0o100000
	directory = 0o040000
)

func (a *archive) file(name string, mode fs.FileMode, data []byte) { a.add(name, mode, regular, data) }

func (a *archive) dirs(names ...string) {
	for _, name := range names {
		a.add(name, 0o755, directory, nil)
	}
}

// copy adds a file of the host.
func (a *archive) copy(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	a.file(to, 0o755, data)
}

// writeTo ends the archive and writes it.
func (a *archive) writeTo(t *testing.T, w io.Writer) {
	t.Helper()
	a.add("TRAILER!!!", 0, 0, nil)
	if _, err := w.Write(a.Bytes()); err != nil {
		t.Fatal(err)
	}
}
