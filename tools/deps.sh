#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Install the Debian packages that are missing; say so first.  What each is for:
# docs/architecture.md, "Parts from elsewhere".
set -eu

packages="gcc libc6-dev make meson ninja-build pkg-config python3
	libglib2.0-dev libjson-c-dev libssl-dev libcmocka-dev zlib1g-dev
	libcapstone-dev busybox-static cpio xz-utils seabios ovmf"
# `make clang`, `make fuzz`, `make bench`, `make vmms` and the sanitizers want these as well.
case "${1:-}" in
clang | fuzz) packages="$packages clang llvm libclang-rt-14-dev" ;;
bench) packages="$packages qemu-system-x86" ;;
vmms) packages="$packages qemu-system-x86 e2fsprogs grub-common grub-pc-bin" ;;
esac

missing=
for p in $packages; do
	[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2> /dev/null)" = "ii " ] ||
		missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo > /dev/null || {
		echo "deps: these packages are missing and there is no sudo; as root:" \
			"apt-get install$missing" >&2
		exit 1
	}
	sudo=sudo
fi
echo "deps: installing$missing${sudo:+ (by sudo)}"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo ${sudo:+env DEBIAN_FRONTEND=noninteractive} \
	apt-get install -y -qq --no-install-recommends $missing > /dev/null
