#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""run.py: softkvm and a real KVM with private memory do the same, test by test.

Everything that collect.py runs is run on softkvm in its three regimes here, and on
Linux 6.12's KVM in the nested host (host.sh).  Prints one line a test and what each
KVM answered.  Exit status 1: two of them differ, and it isn't in DIFFERENCES.
"""
import argparse
import difflib
import json
import os
import re
import subprocess
import sys

import collect

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
NESTED_SECONDS = 1500
SOFT = ("vm", "vm2", "guest-memfd")
COLUMNS = ("kernel", *SOFT)
TITLES = {"kernel": "KVM 6.12", "vm": "soft vm", "vm2": "soft vm2", "guest-memfd": "soft in place"}

# Where the emulated processor isn't like a processor: why, and those lines of the console.
OLD_CODE = "QEMU sometimes goes on with code that another processor has changed"
CHANGED_CODE = (OLD_CODE, r"code changed under other processors: |PASS$|FAIL$")
DIFFERENCES = {
    ("program", "code: changed while the guest runs"): (OLD_CODE, None),
    ("program", "more: page tables outside memory"):
        ("QEMU's processor and KVM's emulator hand the fault to one another for ever", None),
    ("program", "state: KVM_SET_GUEST_DEBUG"): ("QEMU doesn't intercept INT3", None),
    ("program", "state: KVM_GUESTDBG_INJECT_BP"): ("QEMU doesn't intercept INT3", None),
    ("guest", "faults"):
        ("QEMU raises #GP for #SS, and no #DF for a gate that isn't present",
         r"#SS by a non-canonical address: |got vector|#DF by a missing gate: |PASS$|FAIL$"),
    ("guest", "fpu"): ("QEMU delivers no #XM", r"#XM: |PASS$|FAIL$"),
    ("guest", "smp-2"): CHANGED_CODE,
    ("guest", "smp-4"): CHANGED_CODE,
    ("guest", "smp-8"): CHANGED_CODE,
    ("guest", "convert"): ("how often it converts is a matter of speed", r"\d+ conversions$"),
    ("guest", "convert-in-place"): ("likewise", r"\d+ conversions$"),
}


def run_soft(arguments, extra):
    command = [sys.executable, os.path.join(HERE, "collect.py"), *SOFT, *extra]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_nested(arguments, extra):
    build = os.path.realpath(arguments.build)
    command = [os.path.join(HERE, "host.sh"), "run", "-m", "7168", "-t", str(NESTED_SECONDS),
               "-d", TOP, "-d", build, "--", "python3",
               os.path.join(HERE, "collect.py"), "kernel", *extra]
    return subprocess.run(["bash", *command], capture_output=True, text=True, check=False)


def read_results(text, table):
    for line in text.splitlines():
        row = json.loads(line)
        table.setdefault((row["kind"], row["name"]), {})[row["kvm"]] = row["result"]


def difference(kind, name):
    """Why this test may differ, and which lines of its console; (None, None): it may not."""
    kind = "program" if kind == "program" else "guest"
    return DIFFERENCES.get((kind, name), (None, None))


def without_lines(console, pattern):
    lines = console.splitlines()
    return [line for line in lines if not (pattern and re.match(pattern, line))]


def compare_guest(name, results):
    """None: the same consoles and maps; else how they differ from the first."""
    pattern = difference("guest", name)[1]
    results = {kvm: result for kvm, result in results.items() if result != "skipped"}
    first = next(kvm for kvm in reversed(COLUMNS) if kvm in results)
    for kvm, result in results.items():
        if "error" in result and not pattern:
            return f"{TITLES[kvm]}: {result['error']}"
        lines = [without_lines(r["console"], pattern) for r in (results[first], result)]
        if lines[0] != lines[1]:
            return "\n".join(difflib.unified_diff(*lines, TITLES[first], TITLES[kvm], "", "", 0,
                                                  ""))
        if "error" not in result and results[first]["maps"] != result["maps"]:
            return f"maps: {first}: {results[first]['maps']}\n{kvm}: {result['maps']}"
    return None


def compare_simple(results):
    """A skip says that this KVM hasn't got it, and agrees with everything."""
    said = {result for result in results.values() if result != "skipped"}
    if said <= {"ok"}:
        return None
    return ", ".join(f"{kvm}: {result}" for kvm, result in results.items())


def cell(result):
    if result is None:
        return "-"
    if not isinstance(result, dict):
        return {"ok": "ok", "skipped": "hasn't it"}.get(result, "FAILED")
    if "error" in result:
        return "error"
    return "FAIL" if re.search("^FAIL$", result["console"], re.MULTILINE) else "ok"


def compare(kind, name, results):
    """(verdict, why or how)."""
    guest = any(isinstance(result, dict) for result in results.values())
    missing = [kvm for kvm in COLUMNS if kvm not in results]
    wrong = compare_guest(name, results) if guest else compare_simple(results)
    known, pattern = difference(kind, name)

    if missing:
        return "DIFFERS", "no result from " + ", ".join(TITLES[kvm] for kvm in missing)
    if guest and known and not wrong:       # the rest of the console is the same
        return ("known", known) if compare_guest("", results) else ("agree", None)
    if wrong and known and not guest:
        others = {kvm: result for kvm, result in results.items() if kvm != "kernel"}
        return ("DIFFERS", wrong) if compare_simple(others) else ("known", known)
    return ("DIFFERS", wrong) if wrong else ("agree", None)


def print_table(table):
    """Counts of the verdicts."""
    counts = {"agree": 0, "known": 0, "DIFFERS": 0}
    width = max(len(f"{kind}: {name}") for kind, name in table)
    print(f"{'':{width}}  " + "".join(f"{TITLES[kvm]:15}" for kvm in COLUMNS))
    for (kind, name), results in table.items():
        if all(result == "skipped" for result in results.values()):
            continue
        verdict, why = compare(kind, name, results)
        counts[verdict] += 1
        cells = "".join(f"{cell(results.get(kvm)):15}" for kvm in COLUMNS)
        print(f"{f'{kind}: {name}':{width}}  {cells}{verdict}")
        if why:
            print("    " + why.replace("\n", "\n    "))
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--part", action="append", choices=collect.PARTS, help="default: all")
    parser.add_argument("--guest", action="append", help="a section of guests.cfg; default: all")
    arguments = parser.parse_args()
    extra = ["--build", os.path.realpath(arguments.build)]
    for option, values in (("--part", arguments.part), ("--guest", arguments.guest)):
        for value in values or []:
            extra += [option, value]
    table = {}
    print("on softkvm, in three regimes ...", flush=True)
    soft = run_soft(arguments, extra)
    print("on KVM in the nested host (minutes) ...", flush=True)
    nested = run_nested(arguments, extra)
    for done, what in ((soft, "softkvm"), (nested, "the nested host")):
        if done.returncode:
            print(f"{what}: status {done.returncode}\n{done.stderr}")
            return 1
        read_results(done.stdout, table)
    with open(os.path.join(arguments.build, "nested.txt"), "w", encoding="utf-8") as log:
        log.write(soft.stdout + nested.stdout)          # to look closer at a difference
    counts = print_table(table)
    print(f"{counts['agree']} agree, {counts['known']} differ by the emulated processor, "
          f"{counts['DIFFERS']} differ")
    return 1 if counts["DIFFERS"] or not table else 0


if __name__ == "__main__":
    sys.exit(main())
