#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# variant.sh BUILD NAME MESON_OPTIONS... - build into BUILD-NAME with the options
# and run the suite there.  Guests boot slower under a sanitizer: time limits times 5.
set -eu

here=$(dirname "$(realpath "$0")")
top=$(dirname "$here")
build=$1-$2
name=$2
shift 2
[ "$name" != clang ] || "$top/tools/deps.sh" clang
[ -e "$build/build.ninja" ] || meson setup "$build" "$@"
ninja -C "$build"
"$top/tools/guest/files.sh" "$build/guest"
export TEST_SLOWER=5
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:handle_segv=0:allow_user_segv_handler=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
exec "$here/run.sh" "$build" --timeout-multiplier 5
