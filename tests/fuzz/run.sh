#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# run.sh BUILD SECONDS [TARGET...] - fuzz targets (all of them) under libFuzzer and the
# address and undefined-behaviour sanitizers, SECONDS each, two at a time and at low
# priority.  The corpus is BUILD/corpus, what they find stays in BUILD/found.
set -eu

here=$(dirname "$(realpath "$0")")
build=$1
seconds=$2
shift 2
"$here/../../tools/deps.sh" fuzz
[ -e "$build/build.ninja" ] ||
	CC=clang meson setup "$build" -Dfuzz=true -Db_lundef=false -Db_sanitize=address,undefined \
		-Dc_args=-fsanitize=fuzzer-no-link
nice ninja -C "$build" fuzz
mkdir -p "$build/found"
[ $# -gt 0 ] || set -- $(cd "$build/tests/fuzz" && find . -maxdepth 1 -type f -name 'fuzz_*' |
	sed 's,./fuzz_,,' | sort)

# The program's name is all that xargs hands on; the rest comes from the environment.
export build seconds
printf '%s\n' "$@" | xargs -P 2 -I TARGET sh -c '
	name=TARGET
	mkdir -p "$build/corpus/$name"
	"$build/tests/fuzz/seeds_$name" --seeds "$build/corpus/$name"
	status=0
	nice -n 19 "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -rss_limit_mb=4096 \
		-timeout=20 -print_final_stats=1 -artifact_prefix="$build/found/$name-" \
		"$build/corpus/$name" > "$build/$name.log" 2>&1 || status=1
	echo "$name, $seconds s:"
	grep -E "stat::number_of_executed_units|ERROR|SUMMARY" "$build/$name.log" || :
	exit $status'
