# SPDX-License-Identifier: LGPL-2.1-or-later
"""paging.py: `info tlb`, `info mem` and `gva2gpa` against what the guest says of its tables.

The paging guest waits in each mode, and afterwards prints every entry that maps
something, as it reads them itself.
"""
import os
import re
import sys
import time

from debug_vm import TIMEOUT, Vm, VmError, expect, machine, main

MODES = ("32-bit", "PAE", "4-level", "5-level")
LEAF = re.compile(r"^leaf (\w+) (\w+) (\w+) (\w+) ([u-])([w-])$", re.M)
# Of `info tlb`, from the left, and the bit of the entry; P is for pages larger than 4 KiB.
FLAGS = (("X", 63), ("G", 8), ("P", None), ("D", 6), ("A", 5), ("C", 4), ("T", 3), ("U", 2),
         ("W", 1))


def leaves_of(text):
    """[(gva, gpa, size, entry, user, writable)]"""
    return [tuple(int(n, 16) for n in m[:4]) + (m[4], m[5]) for m in LEAF.findall(text)]


def tlb_line(leaf):
    gva, gpa, size, entry = leaf[:4]
    flags = "".join(letter if (size > 4096 if bit is None else entry >> bit & 1) else "-"
                    for letter, bit in FLAGS)
    return f"{gva:016x}: {gpa:016x} {flags}"


def mem_lines(leaves):
    """Neighbours of equal rights as one."""
    runs = []
    for gva, _, size, _, user, writable in leaves:
        rights = f"{user}r{writable}"
        if runs and runs[-1][0] + runs[-1][1] == gva and runs[-1][2] == rights:
            runs[-1][1] += size
        else:
            runs.append([gva, size, rights])
    return [f"{start:016x}-{start + size & (1 << 64) - 1:016x} {size:016x} {rights}"
            for start, size, rights in runs]


def same(name, got, wanted):
    for n, (line, want) in enumerate(zip(got, wanted)):
        expect(line == want, f"{name}, line {n}: '{line}', the guest has '{want}'")
    expect(len(got) == len(wanted), f"{name}: {len(got)} lines, the guest has {len(wanted)}")


def wait_for_cr3(vm, cr3):
    deadline = time.monotonic() + TIMEOUT
    while int(vm.qmp.hmp("p/x $cr3"), 16) != cr3:
        if time.monotonic() > deadline:
            raise VmError(f"the guest isn't in the mode with CR3 {cr3:#x}")


def look(vm, private):
    """What the monitor says while the guest is in the mode."""
    if private:
        expect("can't be read while the guest runs: stop" in vm.qmp.hmp("info tlb"),
               "tables of a running guest are private")
    vm.qmp.command("stop")
    seen = {"tlb": vm.qmp.hmp("info tlb").splitlines(), "mem": vm.qmp.hmp("info mem").splitlines()}
    seen["gpa"] = {}
    for line in seen["tlb"][::37]:
        gva = int(line[:16], 16)
        seen["gpa"][gva] = vm.qmp.hmp(f"gva2gpa {gva + 0xabc:#x}")
    gva = int(seen["tlb"][-1][:16], 16)
    seen["last"] = vm.qmp.hmp(f"info tlb {gva:#x}").splitlines()
    seen["hole"] = vm.qmp.hmp("gva2gpa 0x30000000")
    vm.qmp.command("cont")
    return seen


def compare(mode, seen, leaves):
    expect(len(leaves) > 1000, f"{mode}: {len(leaves)} leaves")
    same(f"{mode}: info tlb", seen["tlb"], [tlb_line(leaf) for leaf in leaves])
    same(f"{mode}: info mem", seen["mem"], mem_lines(leaves))
    same(f"{mode}: info tlb of one page", seen["last"], [tlb_line(leaves[-1])])
    expect(seen["hole"] == "Unmapped\n", f"{mode}: {seen['hole']}")
    gpas = {leaf[0]: leaf[1] for leaf in leaves}
    for gva, text in seen["gpa"].items():
        expect(text == f"gpa: {gpas[gva] + 0xabc:#x}\n", f"{mode}: gva2gpa of {gva:#x}: {text}")


def machine_with_5level(options, image="paging"):
    """Whose processor has 5-level paging: as a program of softkvm's."""
    softkvm = os.path.join(os.path.dirname(options.binary), "softkvm")
    return Vm(softkvm, ["--cpu=max,+la57", os.path.abspath(options.binary), "-accel", "kvm", "-m", "64M",
                        "-kernel", os.path.join(options.guests, image + ".elf")])


def test_modes(options, regime):
    private = regime == "private"
    if regime == "5-level":
        vm, modes = machine_with_5level(options), MODES
    else:
        vm = machine(options, regime, "read" if private else None, image="paging", append="")
        modes = MODES[:3]
    with vm:
        end = 0
        for mode in modes:
            match = vm.wait_for(rf"^mode {mode} cr3 0x(\w+)\n", TIMEOUT, end)
            wait_for_cr3(vm, int(match.group(1), 16))
            seen = look(vm, private)
            vm.type("\n")
            start = vm.wait_for(rf"^tables of {mode}$", TIMEOUT, end).end()
            end = vm.wait_for(r"^(mode|all modes)", TIMEOUT, start).start()
            compare(mode, seen, leaves_of(vm.console[start:end]))
        vm.wait_for(r"^PASS$", TIMEOUT)


TESTS = [(f"modes-{regime}", test_modes, regime)
         for regime in ("default", "private", "5-level")]

if __name__ == "__main__":
    sys.exit(main(TESTS, __doc__))
