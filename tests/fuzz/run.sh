#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# run.sh BUILD SECONDS - every fuzz target under libFuzzer and the address and
# undefined-behaviour sanitizers, SECONDS each; what it finds stays in BUILD/found.
set -eu

here=$(dirname "$(realpath "$0")")
build=$1
seconds=$2
"$here/../../tools/deps.sh" fuzz
[ -e "$build/build.ninja" ] ||
	CC=clang meson setup "$build" -Dfuzz=true -Db_lundef=false -Db_sanitize=address,undefined \
		-Dc_args=-fsanitize=fuzzer-no-link
ninja -C "$build"
mkdir -p "$build/found"
failed=0
for target in "$build"/tests/fuzz/fuzz_*; do
	[ -x "$target" ] && [ -f "$target" ] || continue
	name=$(basename "$target")
	mkdir -p "$build/corpus/$name"
	echo "$name: $seconds s"
	"$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -print_final_stats=1 \
		-artifact_prefix="$build/found/$name-" "$build/corpus/$name" \
		> "$build/$name.log" 2>&1 || failed=1
	grep -E 'stat::number_of_executed_units|ERROR|SUMMARY' "$build/$name.log" || :
done
exit $failed
