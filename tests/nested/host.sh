#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A real KVM with private memory, run wholly in software: QEMU's TCG emulates an AMD
# processor with SVM and nested paging, and a small Linux 6.12 on it offers /dev/kvm
# with KVM_X86_SW_PROTECTED_VM.  Slow, but it is anywhere, and it is KVM itself.
# What TCG does otherwise than a processor: docs/testing.md.
#
#   host.sh deps                 install what build and run need
#   host.sh build                build the kernel, once, into the cache; print its path
#   host.sh run [OPTIONS] -- COMMAND...
#       run COMMAND in the nested host, as root, in HOSTDIR; its stdout and stderr come
#       out on ours, and its exit code is ours.  Its stdin is empty, and nothing of our
#       environment reaches it.  Inside, the root file system is this machine's own,
#       read-only; /tmp, /var/tmp, /run and /dev/shm are empty.
#       -d HOSTDIR  read-write folder, same path inside (default: the current one);
#                   may be given again, the first is the working folder
#       -m MB       memory (default 2048)
#       -c CPUS     processors (default 2)
#       -t SECONDS  limit on the whole run (default 600); past it, exit 124
#       -v          the kernel's whole log on stderr as it comes
#   125: the nested host itself failed (the end of its log is on stderr).
#
# Environment: NESTED_DIR (cache folder; default $XDG_CACHE_HOME/cloister/nested),
# NESTED_JOBS (build jobs, default 2), NESTED_EXTRA (file with more kernel options),
# NESTED_SOURCE (kernel source tarball), NESTED_KEEP=1 (keep source and build trees).
set -eu

self=$(realpath "$0")
here=${self%/*}
cache=${NESTED_DIR:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/cloister/nested}
source=${NESTED_SOURCE:-/usr/src/linux-source-6.12.tar.xz}
packages=(linux-source-6.12 build-essential flex bison bc libelf-dev lz4 xz-utils iproute2
    qemu-system-x86)

# All that TCG has (SVM with nested paging among it) but XSAVE and what needs it: qemu 7.2
# does not intercept XSETBV, so a guest's XCR0, and with it its SSE and AVX registers,
# would be lost at its next exit.
cpu=max,-xsave,-avx,-avx2,-f16c,-fma,-mpx,-pku,-vaes

# The tolerance: KVM starts before the kernel has refined its TSC frequency, and where the
# first guess was further off than 250 ppm (seen on a busy machine) KVM would count guest
# time with a multiplier of 0.  On a busy machine the kernel's check of its first timer fails, too.
append="console=ttyS0 panic=-1 reboot=t kvm.tsc_tolerance_ppm=100000 no_timer_check
    root=root rootfstype=9p ro
    rootflags=trans=virtio,version=9p2000.L,msize=512000,cache=loose"

die() {
    echo "nested host: $*" >&2
    exit 125
}

# The options, without comments: a change of one of them is another kernel.
options() {
    cat "$here/kernel.config" ${NESTED_EXTRA:+"$NESTED_EXTRA"} | grep '^CONFIG_'
}

image() {
    local sum
    sum=$( (options; stat -L -c '%n %s' "$source" 2> /dev/null) | sha256sum)
    echo "$cache/bzImage-${sum:0:12}"
}

missing_packages() {
    local p
    for p in "${packages[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2> /dev/null)" = "ii " ] || echo "$p"
    done
}

deps() {
    local missing sudo=
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "nested host: installing" $missing >&2
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # one word each
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing > /dev/null
}

compile() { # IMAGE
    local tree=$cache/src out=$cache/build line
    [ -e "$source" ] || die "no $source: '$0 deps' installs it"
    echo "nested host: building its kernel (some minutes), log in $cache/build.log" >&2
    rm -rf "$tree" "$out"
    mkdir -p "$tree" "$out"
    tar -xf "$source" -C "$tree" --strip-components=1
    options > "$out/fragment"
    make -C "$tree" O="$out" KCONFIG_ALLCONFIG="$out/fragment" allnoconfig \
        > "$cache/build.log" 2>&1 || die "no configuration: $cache/build.log"
    while read -r line; do
        case $line in
        *=n) ! grep -q "^${line%n}" "$out/.config" ;;
        *) grep -qxF "$line" "$out/.config" ;;
        esac || echo "nested host: not as asked: $line" >&2
    done < "$out/fragment"
    nice make -C "$tree" O="$out" -j"${NESTED_JOBS:-2}" bzImage \
        >> "$cache/build.log" 2>&1 || die "the build failed: $cache/build.log"
    cp "$out/arch/x86/boot/bzImage" "$1.new"
    mv "$1.new" "$1"
    [ -n "${NESTED_KEEP:-}" ] || rm -rf "$tree" "$out"
}

build() {
    local kernel
    kernel=$(image)
    [ ! -e "$kernel" ] || return 0
    mkdir -p "$cache"
    (
        flock 9
        [ -e "$kernel" ] || compile "$kernel"
    ) 9> "$cache/lock"
}

run() {
    local memory=2048 cpus=2 limit=600 verbose='' quiet="quiet loglevel=5"
    local dirs=() qemu=() opt i out err log rc=0
    while getopts m:c:t:d:v opt; do
        case $opt in
        m) memory=$OPTARG ;;
        c) cpus=$OPTARG ;;
        t) limit=$OPTARG ;;
        d) dirs+=("$(realpath -e "$OPTARG")") ;;
        v) verbose=1 quiet='' ;;
        *) exit 125 ;;
        esac
    done
    shift $((OPTIND - 1))
    [ $# -gt 0 ] || die "no command"
    command -v qemu-system-x86_64 > /dev/null || die "no qemu-system-x86_64: '$0 deps' installs it"
    [ ${#dirs[@]} -gt 0 ] || dirs=("$(realpath .)")
    [ "${dirs[0]}" != / ] || die "the folder to share is /: give -d"
    build

    tmp=$(mktemp -d) vm=''
    trap '[ -z "$vm" ] || kill "$vm" 2> /dev/null; exit 125' HUP INT TERM
    trap 'rm -rf "$tmp"' EXIT
    mkdir "$tmp/ctl"
    printf '%s\n' "${dirs[@]}" > "$tmp/ctl/dirs"
    printf '%q ' "$@" > "$tmp/ctl/command"
    cp "$self" "$tmp/ctl/init"

    share() { # TAG FOLDER MORE
        qemu+=(-fsdev "local,id=$1,path=${2//,/,,},security_model=none,multidevs=remap$3"
            -device "virtio-9p-pci,fsdev=$1,mount_tag=$1")
    }
    share root / ,readonly=on
    share ctl "$tmp/ctl" ""
    for i in "${!dirs[@]}"; do
        share "dir$i" "${dirs[i]}" ""
    done

    # Whatever our own stdout and stderr are, qemu writes to pipes.
    mkfifo "$tmp/out" "$tmp/err" "$tmp/log"
    cat "$tmp/out" & out=$!
    cat "$tmp/err" >&2 & err=$!
    if [ -n "$verbose" ]; then
        tee "$tmp/kernel.log" < "$tmp/log" >&2 & log=$!
    else
        cat "$tmp/log" > "$tmp/kernel.log" & log=$!
    fi
    for i in out err log; do
        qemu+=(-chardev "file,id=$i,path=$tmp/$i,append=on")
    done

    timeout -k 5 "$limit" qemu-system-x86_64 \
        -nodefaults -no-user-config -display none -no-reboot \
        -accel tcg,thread=multi -cpu "$cpu" -smp "$cpus" -m "$memory" \
        -kernel "$(image)" -append "${append//$'\n'/ } $quiet \
init=/bin/bash -- $tmp/ctl/init guest" \
        "${qemu[@]}" -serial chardev:log -device virtio-serial-pci \
        -device virtserialport,chardev=out,nr=1 \
        -device virtserialport,chardev=err,nr=2 \
        < /dev/null >&2 & vm=$!
    wait "$vm" || rc=$?
    vm=''
    # Where qemu did not come to open a pipe, its reader still waits for that.
    for i in out err log; do
        : <> "$tmp/$i"
    done
    wait "$out" "$err" "$log"

    if [ "$rc" = 124 ] || [ "$rc" = 137 ]; then
        echo "nested host: ended after $limit seconds" >&2
        rc=124
    elif [ -s "$tmp/ctl/rc" ]; then
        rc=$(cat "$tmp/ctl/rc")
    else
        rc=125
    fi
    if [ -z "$verbose" ]; then
        if [ "$rc" = 125 ] || [ "$rc" = 124 ]; then
            tail -n 40 "$tmp/kernel.log" >&2
        else
            grep -aE 'BUG:|WARNING:|Oops|Out of memory' "$tmp/kernel.log" >&2 || :
        fi
    fi
    return "$rc"
}

# What runs inside, as process 1: its end is the kernel's, so every failure here ends the
# run with 125.
guest() {
    local ctl=/run/nested dirs i port out err rc=0
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    export HOME=/tmp
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t debugfs debugfs /sys/kernel/debug
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    for i in /dev/shm /run /tmp /var/tmp; do
        mount -t tmpfs tmpfs "$i"
    done
    ln -s /proc/self/fd /dev/fd
    ln -s fd/0 /dev/stdin
    ln -s fd/1 /dev/stdout
    ln -s fd/2 /dev/stderr
    echo 1 > /proc/sys/kernel/panic_on_oops
    echo 1 > /proc/sys/vm/overcommit_memory     # guests larger than this host
    ip link set lo up 2> /dev/null || :

    plan9() { # TAG FOLDER CACHE
        mkdir -p "$2"
        mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,cache=$3" "$1" "$2"
    }
    plan9 ctl $ctl none
    mapfile -t dirs < $ctl/dirs
    for i in "${!dirs[@]}"; do
        plan9 "dir$i" "${dirs[i]}" mmap
    done
    cd "${dirs[0]}"

    port=$(echo /dev/vport*p1)
    port=${port%1}
    mkfifo /run/out /run/err
    cat /run/out > "${port}1" & out=$!
    cat /run/err > "${port}2" & err=$!
    bash -c "$(cat $ctl/command)" < /dev/null > /run/out 2> /run/err || rc=$?
    # What the command left running would keep the pipes open.
    for i in /proc/[0-9]*; do
        case ${i#/proc/} in
        1 | "$out" | "$err") ;;
        *) kill -9 "${i#/proc/}" 2> /dev/null || : ;;
        esac
    done
    wait
    sync
    echo $rc > $ctl/rc
    echo b > /proc/sysrq-trigger
    sleep 10
}

case ${1:-} in
deps) deps ;;
build) build && image ;;
run)
    shift
    run "$@"
    ;;
guest) guest ;;
*)
    sed -n '3,/^set/{/^set/!s/^# \{0,1\}//p}' "$self"
    exit 125
    ;;
esac
