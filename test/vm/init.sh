#!/bin/busybox sh
# The first program of a guest: it mounts what a machine has, runs the test, tells its
# exit code, and switches off. What varies comes from /env.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/root TERM=linux
mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
while read -r module; do insmod "/mod/$module.ko" || echo "module $module was not loaded"; done </mod/order
ip link set lo up
. /env

hierarchies() { # of cgroup v1
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  for c in $(sed -n 's/^\([a-z_]*\)\t.*\t1$/\1/p' /proc/cgroups); do
    mkdir -p "/sys/fs/cgroup/$c"
    mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/$c" || rmdir "/sys/fs/cgroup/$c"
  done
}
case $GUEST in
  v2) mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup ;;
  v1) hierarchies ;;
esac

ports=/dev/virtio-ports
mkdir -p $ports
while [ ! -e $ports/code ]; do # nobody else names them
  for p in /sys/class/virtio-ports/*; do [ -r "$p/name" ] && ln -sf "/dev/${p##*/}" "$ports/$(cat "$p/name")"; done
  usleep 10000
done
if [ -n "$BHNODE_TEST_DISK" ]; then
  while [ ! -b "/dev/$BHNODE_TEST_DISK" ]; do usleep 10000; done
  mount -t ext4 "/dev/$BHNODE_TEST_DISK" "$BHNODE_TEST_DISK_DIR" || echo "the disk was not mounted"
fi
cd /vm || exit
sh /test </dev/null >$ports/output 2>&1
echo "code $?" >$ports/code
sync
poweroff -f
sleep 60
