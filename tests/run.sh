#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# run.sh BUILD [meson test arguments] - run the suite, show what was skipped and
# why, and close with one line of counts.
set -u

build=$1
shift
# Two at a time: tests that boot guests take a core each.
meson test -C "$build" --no-rebuild --print-errorlogs --num-processes 2 "$@"
status=$?
python3 "$(dirname "$0")/summary.py" "$build/meson-logs/testlog.json" || status=1
exit $status
