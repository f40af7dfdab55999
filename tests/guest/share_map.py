# SPDX-License-Identifier: LGPL-2.1-or-later
"""share_map.py REGIME: the attribute map after each step of the share guest.

The guest waits after each step; QMP and HMP then must show exactly the pages that
it converted, in maximal ranges without gaps.
"""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError, protected        # noqa: E402

PAGE = 4096
# Accelerator, spelling of private memory, and what `info kvm` says of it.
REGIMES = {
    "private": ("soft", "private", "attributes per VM, two backings"),
    "memfd": ("soft", "memfd", "attributes per guest_memfd, converted in place"),
    "guest-memfd": ("soft", "guest-memfd", "attributes per guest_memfd, converted in place"),
    "private-memfd": ("soft", "private-memfd", "attributes per VM, two backings"),
    "private-file": ("soft", "private-file", "attributes per VM, two backings"),
    "private-shm": ("soft", "private-shm", "attributes per VM, two backings"),
    "vm2": ("soft,memory-attributes=vm2", "private",
            "attributes per VM by version 2, two backings"),
}
MEMORY = 64 << 20
WINDOW = 0x800000
EXITS = range(0x100, 0x107)     # pages that every guest shares: guests/lib/exits.S
EVERY_SECOND = {5} | set(range(16, 32, 2))
# The pages of the window that are shared after step 0, 1, ...
STEPS = [set(), {5}, EVERY_SECOND, set(range(64)), set(range(32)), set(), set()]


def expected_ranges(pages):
    """[(start, length, shared)] of the whole block."""
    ranges = []
    for page in range(MEMORY // PAGE):
        shared = page - WINDOW // PAGE in pages or page in EXITS
        if ranges and ranges[-1][2] == shared:
            ranges[-1][1] += PAGE
        else:
            ranges.append([page * PAGE, PAGE, shared])
    return [tuple(r) for r in ranges]


def expected_text(ranges):
    lines = ["mem0:"]
    for start, length, shared in ranges:
        state = "shared+populated" if shared else "private-populated"
        lines.append(f"0x{start:016x}-0x{start + length - 1:016x} {state}")
    return lines


def check_map(vm, step, pages):
    expected = expected_ranges(pages)
    blocks = vm.qmp.command("x-query-ramblock-attributes")
    ranges = next((b["ranges"] for b in blocks if b["name"] == "mem0"), None)
    if ranges is None:
        raise VmError(f"step {step}: no block mem0 in {blocks}")
    got = [(r["start"], r["length"], r["shared"]) for r in ranges]
    if got != expected:
        raise VmError(f"step {step}: QMP shows {got}, expected {expected}")
    if any(r.get("populated") != r["shared"] for r in ranges):
        raise VmError(f"step {step}: populated isn't shared: {ranges}")
    lines = [line.strip() for line in vm.qmp.hmp("info ramblock-attributes").splitlines()]
    if lines != expected_text(expected):
        raise VmError(f"step {step}: HMP shows {lines}, expected {expected_text(expected)}")


def check_cost(vm, step, pages):
    """No page is held twice, nor the copy that isn't in use any more."""
    shared = (len(pages) + len(EXITS)) * PAGE
    cost = next(c for c in vm.qmp.command("x-query-memory-cost") if c["name"] == "mem0")
    if cost["stale"] or cost.get("doubly-held") or cost["shared"] > shared:
        raise VmError(f"step {step}: {shared} bytes are shared, held is {cost}")
    if not 0 < cost.get("private", 1) <= MEMORY - shared:
        raise VmError(f"step {step}: private memory held: {cost}")


def run(arguments):
    image = os.path.join(arguments.guests, "share.elf")
    accel, backend, attributes = REGIMES[arguments.regime]
    command = ["-accel", accel] + protected(backend, f"{MEMORY >> 20}M") + [
        "-kernel", image, "-append", "step"]
    timeout = 60 * int(os.environ.get("TEST_SLOWER", "1"))
    with Vm(arguments.binary, command) as vm:
        said = vm.qmp.hmp("info kvm")
        if f"private memory: {attributes}\n" not in said.replace("\r", ""):
            raise VmError(f"info kvm says: {said}")
        seen = 0
        for step, pages in enumerate(STEPS):
            seen = vm.wait_for(rf"^step {step}: .*\nwaiting for a key\n", timeout, seen).end()
            check_map(vm, step, pages)
            check_cost(vm, step, pages)
            print(f"step {step}: {len(pages)} pages shared, as the guest says", flush=True)
            vm.type("\n")
        vm.wait_for(r"^PASS$", timeout, seen)
        status = vm.wait_end(timeout)
        if status:
            raise VmError(f"cloister ended with status {status}: {vm.errors()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    try:
        run(parser.parse_args())
    except VmError as error:
        print(f"share_map: {error}")
        return 1
    return 0


sys.exit(main())
