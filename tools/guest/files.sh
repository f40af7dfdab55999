#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# files.sh OUTDIR - a guest made of stock parts: OUTDIR/vmlinuz is the kernel of
# Debian's cloud images, unmodified, out of its package (nothing is installed);
# OUTDIR/initrd.gz is Debian's static busybox with the init beside this script and
# that kernel's modules for virtio and fw_cfg, which the guest's command `modules` loads.
set -eu

# In the order in which they can be loaded.
modules="virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev
	virtio/virtio_pci_legacy_dev virtio/virtio_pci block/virtio_blk char/hw_random/virtio-rng
	char/virtio_console virtio/virtio_mem firmware/qemu_fw_cfg"

here=$(dirname "$(realpath "$0")")
out=$1
mkdir -p "$out"

kernel_package() {
	apt-cache depends linux-image-cloud-amd64 2> /dev/null |
		sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p' | head -n 1
}

kernel() {
	package=$(kernel_package)
	if [ -z "$package" ]; then
		echo "guest: no list of packages yet: apt-get update"
		if [ "$(id -u)" = 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
		package=$(kernel_package)
	fi
	if [ -z "$package" ]; then
		echo "guest: Debian's linux-image-cloud-amd64 is not to be had:" \
			"give KERNEL= and INITRD=" >&2
		exit 1
	fi
	echo "guest: fetching $package (its kernel is used, nothing is installed)"
	rm -rf "$out/deb"
	mkdir -p "$out/deb"
	(cd "$out/deb" && apt-get download -qq "$package" 2> /dev/null)
	dpkg-deb --fsys-tarfile "$out"/deb/*.deb | tar -x -C "$out/deb" --wildcards \
		'./boot/vmlinuz-*' $(printf './lib/modules/*/kernel/drivers/%s.ko ' $modules)
	rm -rf "$out/modules"
	mkdir -p "$out/modules"
	for module in $modules; do
		cp "$out"/deb/lib/modules/*/kernel/drivers/"$module".ko "$out/modules"
		basename "$module" >> "$out/modules/order"
	done
	cp "$out"/deb/boot/vmlinuz-* "$out/vmlinuz.new"
	mv "$out/vmlinuz.new" "$out/vmlinuz"
	rm -rf "$out/deb"
}

initrd() {
	root=$out/initrd
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/mnt" "$root/lib"
	cp -r "$out/modules" "$root/lib/modules"
	cp "$here/modules" "$root/bin/modules"
	cp /bin/busybox "$root/bin/busybox"
	cp "$here/init" "$root/init"
	chmod 755 "$root/init" "$root/bin/busybox" "$root/bin/modules"
	(cd "$root" && find . | LC_ALL=C sort |
		cpio --quiet -o -H newc -R 0:0 --reproducible | gzip -n) > "$out/initrd.new"
	mv "$out/initrd.new" "$out/initrd.gz"
	rm -rf "$root"
}

[ -s "$out/vmlinuz" ] &&
	[ "$(cat "$out/modules/order" 2> /dev/null)" = "$(basename -a $modules)" ] || kernel
[ "$out/initrd.gz" -nt "$here/init" ] && [ "$out/initrd.gz" -nt "$here/modules" ] &&
	[ "$out/initrd.gz" -nt "$out/modules/order" ] || initrd
