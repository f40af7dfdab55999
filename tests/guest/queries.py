# SPDX-License-Identifier: LGPL-2.1-or-later
"""queries.py BACKEND: questions about memory while four processors convert it.

The convert guest changes pages as fast as it can.  Meanwhile every answer must be one
consistent picture; whenever the VM is stopped, the record and a container of DMA
mappings agree.  Prints how long conversions took beside the queries.
"""
import argparse
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError, protected        # noqa: E402

MEMORY = 64 << 20
SECONDS = 1.5


def check(condition, text):
    if not condition:
        raise VmError(text)


def check_block(block):
    at, before = 0, None
    for r in block["ranges"]:
        check(r["start"] == at and r["length"] > 0, f"a gap at {at:#x}: {r}")
        check(r["populated"] == r["shared"], f"populated isn't shared: {r}")
        check(r["shared"] != before, f"not maximal: {r}")
        at, before = at + r["length"], r["shared"]
    check(at == MEMORY, f"the ranges end at {at:#x}")


def ask(qmp):
    check_block(qmp.command("x-query-ramblock-attributes")[0])
    part = qmp.command("x-query-ramblock-attributes", limit=1)[0]
    check(len(part["ranges"]) == 1, f"a limit of 1: {part}")
    if "cursor" in part:
        rest = qmp.command("x-query-ramblock-attributes", cursor=part["cursor"])[0]
        check(rest["ranges"][0]["start"] == part["ranges"][0]["length"], f"cursor: {rest}")
    total = qmp.command("x-query-ramblock-summary")[0]
    check(total["private"] + total["shared"] == MEMORY and
          total["populated"] == total["shared"], f"summary: {total}")
    records = qmp.command("x-query-conversions", limit=100)
    serials = [r["serial"] for r in records]
    check(serials == list(range(serials[0], serials[0] + len(serials))), f"history: {serials}")
    check(all(r["ok"] for r in records), "a conversion failed")
    check(qmp.command("x-query-memory-cost")[0]["size"] == MEMORY, "cost of another block")


def check_stopped(qmp):
    qmp.command("stop")
    shared = qmp.command("x-query-ramblock-summary")[0]["shared"]
    container = qmp.command("x-query-vfio-containers")[0]
    qmp.command("cont")
    check(container["locked"] + container["missing"] == shared,
          f"{shared} bytes are shared: {container}")


def run(arguments):
    timeout = 60 * int(os.environ.get("TEST_SLOWER", "1"))
    in_place = arguments.backend != "private"
    command = ["-accel", "soft"] + protected(arguments.backend, f"{MEMORY >> 20}M") + [
        "-smp", "4", "-object", "vfio-container,id=c0",
        "-kernel", os.path.join(arguments.guests, "convert.elf"),
        "-append", "in-place" if in_place else ""]
    with Vm(arguments.binary, command) as vm:
        seen = vm.wait_for(r"^waiting for a key\n", timeout, 0).end()
        first = vm.qmp.command("x-query-conversions", limit=1)[0]["serial"]
        rounds, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end or rounds < 5:
            ask(vm.qmp)
            check_stopped(vm.qmp)
            rounds += 1
        records = vm.qmp.command("x-query-conversions", limit=1024)
        vm.type("\n")
        vm.wait_for(r"^PASS$", timeout, seen)
        vm.wait_end(timeout)
    times = sorted(r["duration-ns"] // 1000 for r in records)
    check(records[-1]["serial"] > first, "the guest converted nothing")
    print(f"{rounds} rounds of queries beside {records[-1]['serial'] - first} conversions; "
          f"of the last {len(times)}: median {times[len(times) // 2]} us, longest {times[-1]} us")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backend", choices=("private", "memfd", "guest-memfd"))
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    try:
        run(parser.parse_args())
    except VmError as error:
        print(f"queries: {error}")
        return 1
    return 0


sys.exit(main())
