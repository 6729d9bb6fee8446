// Package vm runs tests in small virtual machines: what a kernel with cgroup v2 does, and
// one without any groups, can be seen on a machine that has neither. A guest is a Debian
// kernel and an initramfs of busybox and one static test binary; it has no network and no
// disk, unless a test wants one. In a guest only outcomes and ratios are asserted: it is
// emulated, and slow.
//
// It needs qemu-system-x86, busybox-static, e2fsprogs, xz-utils and apt-get, and takes
// minutes: `make vm` asks for it.
package vm
