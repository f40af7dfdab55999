#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# variant.sh BUILD NAME MESON_OPTIONS... - build into BUILD-NAME with the options
# and run the suite there.  Guests boot slower under a sanitizer: time limits times 5.
# A sanitizer's report fails the run, whatever the test says in which it came.
set -eu

here=$(dirname "$(realpath "$0")")
top=$(dirname "$here")
name=$2
build=$1-${name%-linux}
shift 2
[ "$name" != clang ] || "$top/tools/deps.sh" clang
[ -e "$build/build.ninja" ] || meson setup "$build" "$@"
ninja -C "$build"
"$top/tools/guest/files.sh" "$build/guest"
export TEST_SLOWER=5
# Reports go to files: tests look at what a program says, not all at how it ends.
reports=$(realpath "$build")/reports
rm -rf "$reports"
mkdir "$reports"
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:handle_segv=0:allow_user_segv_handler=1:log_path="$reports/asan"
# With libasan beside it, GCC's libubsan has no file: it aborts, which no test takes for an end.
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:abort_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:log_path="$reports/tsan"
# A stock kernel takes minutes of processor time to boot under the thread sanitizer:
# `make tsan-linux` does that, once for each of 1, 2 and 4 vCPUs.
case $name in
tsan) suites="--no-suite linux" ;;
tsan-linux) suites=linux-poweroff ;;
*) suites= ;;
esac
status=0
# shellcheck disable=SC2086 # one word each
"$here/run.sh" "$build" --timeout-multiplier 5 $suites || status=1
for report in "$reports"/*; do
    [ -e "$report" ] || break
    cat "$report"
    status=1
done
exit $status
