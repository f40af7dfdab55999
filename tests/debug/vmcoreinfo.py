# SPDX-License-Identifier: LGPL-2.1-or-later
"""vmcoreinfo.py: -device vmcoreinfo: what a guest says of itself is in its dumps, and what
it says and isn't so is left out, with a warning.  Stock Linux does it too.
"""
import os
import re
import sys

from access import error_of
from debug_vm import TIMEOUT, arguments, expect, machine, main
from dump import dump
from kdump_dump import kdump
from cloister_vm import Vm

DEVICE = ["-device", "vmcoreinfo"]
TEXT = b"OSRELEASE=1.2-bare\nPAGESIZE=4096\nNUMBER(phys_base)=-8192\n"
# Step of the guest to the warning's words; the others are good, or say nothing.
REFUSED = {2: "format 7", 3: "there isn't RAM", 4: "are no note", 5: "there isn't RAM",
           6: "are no note", 7: "there isn't RAM", 8: "8 bytes are no note",
           9: "0 bytes are no note", 10: "no note of that name", 11: "ends after the note"}
GOOD = (0, 12)


def test_bare(options):
    steps = 13
    with machine(options, "default", image="vmcoreinfo", append="", more=DEVICE) as vm:
        for step in range(steps):
            vm.wait_for(rf"^step {step}: .*\nwaiting for a key", TIMEOUT)
            core, _ = dump(vm, f"core{step}", begin=0, length=1)
            found = core.note("VMCOREINFO", 0)
            expect(found == ([TEXT] if step in GOOD else []), f"step {step}: {found}")
            expect(len(core.note("CORE", 1)) == 1, f"step {step}: notes of one CPU")
            vm.type("\n")
        vm.wait_for(r"^PASS$", TIMEOUT)
        vm.wait_end(TIMEOUT)
        warnings = re.findall("dump-guest-memory: the VMCOREINFO .*", vm.errors())
        expect(len(warnings) == len(REFUSED), f"{warnings}")
        for warning, words in zip(warnings, REFUSED.values()):
            expect(words in warning, f"{words}: {warning}")


def test_kdump(options):
    with machine(options, "default", image="vmcoreinfo", append="", more=DEVICE) as vm:
        vm.wait_for(r"^step 0: ", TIMEOUT)
        for form in ("kdump-zlib", "kdump-raw-zlib"):
            _, file, _ = kdump(vm, form, form)
            expect(file.vmcoreinfo().encode() == TEXT, file.vmcoreinfo())
            expect(file.sub["phys_base"] == (1 << 64) - 8192 and
                   file.names["release"] == "1.2-bare" and file.names["sysname"] == "Linux",
                   f"{file.sub} {file.names}")
        # A reset guest hasn't said anything.
        vm.qmp.command("stop")
        vm.qmp.command("system_reset")
        core, _ = dump(vm)
        expect(core.note("VMCOREINFO", 0) == [], "none after a reset")


def test_refused(options):
    for more, words in (
            (DEVICE + DEVICE, "at most one vmcoreinfo device is permitted"),
            (["-device", "vmcoreinfo,bus=pcie.0"], "can't go on a bus"),
            (["-device", "vmcoreinfo,size=3"], "Property 'vmcoreinfo.size' not found")):
        with machine(options, "default", image="hello", append="", more=more) as vm:
            expect(vm.wait_end(TIMEOUT) == 1 and words in vm.errors(), f"{more}: {vm.errors()}")
    with machine(options, "private", image="hello", append="", more=DEVICE) as vm:
        expect(vm.wait_end(TIMEOUT) == 1 and "requires fw_cfg with DMA" in vm.errors() and
               "x-vmcoreinfo=search" in vm.errors(), vm.errors())
    with machine(options, "default", image="hello", append="", more=["-S"]) as vm:
        desc = error_of(vm.qmp.execute("device_add", driver="vmcoreinfo", id="v"))
        expect("does not support hotplugging" in desc, desc)
    with machine(options, "default", image="hello", append="",
                 more=["-S", "-device", "vmcoreinfo,id=v"]) as vm:
        desc = error_of(vm.qmp.execute("device_del", id="v"))
        expect("does not support hotplugging" in desc, desc)


def test_search(options, regime):
    """The note of a guest that can't tell where it is; only where memory may be read."""
    for allow in ("read", None):
        with machine(options, regime, allow if regime != "default" else None, image="vmcoreinfo",
                     append="wait") as vm:
            vm.wait_for("waiting for a key", TIMEOUT)
            core, _ = dump(vm)
            expect(core.note("VMCOREINFO", 0) == [], "nobody searched")
            core, _ = dump(vm, "core2", **{"x-vmcoreinfo": "search"})
            found = core.note("VMCOREINFO", 0)
            expect(found == ([TEXT] if allow or regime == "default" else []),
                   f"{allow}: {found}")


def test_linux(options):
    files = os.path.join(os.path.dirname(options.guests), "guest")
    with Vm(options.binary, arguments("default")[:-1] + [
            "256M", *DEVICE, "-kernel", f"{files}/vmlinuz", "-initrd", f"{files}/initrd.gz",
            "-append", "console=ttyS0"]) as vm:
        vm.wait_for("guest# ", 4 * TIMEOUT)
        vm.type("modules; ls /sys/firmware/qemu_fw_cfg/by_name/etc; echo do''ne\n")
        vm.wait_for("^done", 4 * TIMEOUT)
        if "vmcoreinfo" not in vm.console:
            print("skipped: linux: an initrd without qemu_fw_cfg: make guest-files")
            return
        core, _ = dump(vm)
        text = core.note("VMCOREINFO", 0)[0].decode()
        release = re.search("cloister-init: Linux ([^,]*),", vm.console).group(1)
        expect(f"OSRELEASE={release}\n" in text and "\nKERNELOFFSET=" in text, text)
        # Linux says by phys_base where its text is: there is its banner.
        offset = int(re.search("^KERNELOFFSET=(.*)$", text, re.MULTILINE).group(1), 16)
        base = int(re.search(r"^NUMBER\(phys_base\)=(.*)$", text, re.MULTILINE).group(1))
        stext = int(re.search(r"^SYMBOL\(_stext\)=(.*)$", text, re.MULTILINE).group(1), 16)
        expect(stext - 0xffffffff81000000 == offset, "_stext is where KERNELOFFSET says")
        expect(core.physical(stext - 0xffffffff80000000 + base, 4096) is not None, "_stext")
        paged, _ = dump(vm, "paged", paging=True)
        gpa = [gpa + stext - gva for gva, gpa, size, _, _ in paged.loads
               if gva <= stext < gva + size]
        expect(gpa == [stext - 0xffffffff80000000 + base], f"{gpa}: as the tables have it")


TESTS = [("bare", test_bare), ("kdump", test_kdump), ("refused", test_refused),
         ("search-default", test_search, "default"), ("search-private", test_search, "private"),
         ("search-guest-memfd", test_search, "guest-memfd"), ("linux", test_linux)]

if __name__ == "__main__":
    sys.exit(main(TESTS, __doc__))
