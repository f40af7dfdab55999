#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# hostile.sh BUILD SECONDS [--kernel] - a quarter of SECONDS for each of softkvm's regimes and SEV,
# in BUILD-hostile under the address and undefined-behaviour sanitizers; with --kernel, a
# fifth each, the last on /dev/kvm.
set -eu

build=$1-hostile
kvms="softkvm vm2 in-place sev"
[ "${3:-}" != --kernel ] || kvms="$kvms kernel"
[ -e "$build/build.ninja" ] ||
    meson setup "$build" -Db_sanitize=address,undefined -Db_lundef=false
ninja -C "$build" tests/kvm/hostile
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:handle_segv=0:allow_user_segv_handler=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:abort_on_error=1
# shellcheck disable=SC2086 # one word each
set -- "$2" $kvms
seconds=$1
shift
seconds=$((seconds / $#))
for kvm; do
    nice "$build/tests/kvm/hostile" "--$kvm" --seconds "$seconds"
done
