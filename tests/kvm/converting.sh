#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# converting.sh BUILD SECONDS - memory converted while vCPUs use it, under the thread
# sanitizer in BUILD-tsan, SECONDS for each: by the KVM API in softkvm's three regimes, and
# in cloister with the guest `convert` in each spelling of private memory.
set -eu

top=$(dirname "$(dirname "$(dirname "$(realpath "$0")")")")
build=$1-tsan
seconds=$2
[ -e "$build/build.ninja" ] || meson setup "$build" -Db_sanitize=thread -Db_lundef=false
ninja -C "$build" tests/kvm/converting cloister guests/convert.elf
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 TEST_SLOWER=5
for kvm in softkvm vm2 in-place; do
    echo "$kvm:"
    "$build/tests/kvm/converting" "--$kvm" --seconds "$seconds"
done
cd "$top"
python3 tests/guest/run.py --binary "$build/cloister" --guests "$build/guests" \
    --seconds "$seconds" --verbose convert convert-in-place
