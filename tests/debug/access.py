# SPDX-License-Identifier: LGPL-2.1-or-later
"""access.py: guest memory by policy, in each spelling of private memory.

The share guest fills its window with what can be computed here, checks at each step
that nothing was changed behind its back, and says PASS at its end.
"""
import base64
import os
import re
import struct
import subprocess
import sys

from debug_vm import MEMORY, REGIMES, TIMEOUT, arguments, expect, machine, main

PAGE = 4096
WINDOW, PAGES = 0x800000, 64
SHARED = 5                      # the one page that is shared after step 1
MULTIPLIER = 0x9e3779b97f4a7c15
MASK = (1 << 64) - 1


def contents(seed):
    start = seed * MULTIPLIER
    return b"".join(struct.pack("<Q", (start + word) & MASK) for word in range(PAGE // 8))


def window():
    """After step 1: each page's seed is its number and one, the shared page's is new."""
    return b"".join(contents(PAGES + 1 if n == SHARED else n + 1) for n in range(PAGES))


def to_step_1(vm):
    vm.wait_for(r"^step 0.*\nwaiting for a key", TIMEOUT)
    vm.type("\n")
    vm.wait_for(r"^step 1.*\nwaiting for a key", TIMEOUT)


def known_window(vm, regime):
    """The window when the guest waits: at once in an ordinary VM, elsewhere after step 1."""
    if regime != "default":
        to_step_1(vm)
        return window()
    vm.wait_for(r"^step 0.*\nwaiting for a key", TIMEOUT)
    return b"".join(contents(n + 1) for n in range(PAGES))


def to_the_end(vm):
    vm.qmp.command("cont")
    for _ in range(6):
        vm.type("\n")
    vm.wait_for(r"^PASS$", TIMEOUT)
    expect(vm.wait_end(TIMEOUT) == 0, "exit status")


def error_of(reply):
    expect("error" in reply, f"an error, not {reply}")
    return reply["error"]["desc"]


def data_of(result):
    return base64.b64decode(result["data"])


def check_forbidden(vm, hint):
    """Private memory in no way; shared memory and devices in all."""
    gpa = WINDOW + SHARED * PAGE
    first = struct.unpack("<Q", contents(PAGES + 1)[:8])[0]
    qmp, path = vm.qmp, os.path.join(vm.folder, "saved")
    expect(qmp.hmp(f"xp/xg {gpa}") == f"{gpa:016x}: {first:#018x}\n", "xp of shared memory")
    text = qmp.hmp(f"xp/3xg {gpa + PAGE - 8}")
    expect(hint in text and ": 0x" in text and " : Cannot access memory" in text,
           f"xp up to private memory: {text}")
    result = qmp.command("x-debug-read", address=gpa, size=2 * PAGE)
    expect(data_of(result) == contents(PAGES + 1) and result["failed-address"] == gpa + PAGE and
           hint in result["error"], f"reading to where private memory begins: {result}")
    for command in ("pmemsave", "memsave"):
        desc = error_of(qmp.execute(command, val=gpa, size=2 * PAGE, filename=path))
        expect(hint in desc, f"{command}: {desc}")
        expect(not os.path.exists(path), f"{command} leaves a file behind")
    for name, more in (("x-debug-read", {"size": 8}),
                       ("x-debug-write", {"data": base64.b64encode(b"8 bytes!").decode()})):
        desc = error_of(qmp.execute(name, address=WINDOW, **more))
        expect("private memory" in desc, f"{name}: {desc}")
    for command in ("gpa2hva", "gpa2hpa"):
        expect("is private" in qmp.hmp(f"{command} {WINDOW}"), f"{command} of private memory")
    text = qmp.hmp(f"gpa2hpa {gpa + 5}")
    expect(re.fullmatch(r"Host physical address for 0x\w+ \(mem0\) is 0x\w+005\n", text) or
           "CAP_SYS_ADMIN" in text, f"gpa2hpa: {text}")
    qmp.command("pmemsave", val=gpa, size=PAGE, filename=path)
    with open(path, "rb") as file:
        expect(file.read() == contents(PAGES + 1), "pmemsave of shared memory")
    # 'hpet' or not, the PCI configuration space is there: host bridge 8086:29c0.
    expect(qmp.hmp("xp/2xh 0xb0000000").endswith(": 0x8086 0x29c0\n"), "xp of MMIO")


def test_without_object(options, regime):
    with machine(options, regime) as vm:
        to_step_1(vm)
        check_forbidden(vm, "-object sw-protected-vm-debug,id=d0,allow=read")
        vm.qmp.command("stop")
        check_forbidden(vm, "-object sw-protected-vm-debug,id=d0,allow=read")
        info = vm.qmp.command("query-debug")
        expect(info == {"private-memory": True, "read": False, "write": False,
                        "while-running": False}, f"query-debug: {info}")
        to_the_end(vm)
        expect("debugging of private memory" not in vm.errors(), "no notice")


def test_forbidden_by_policy(options, regime):
    with machine(options, regime, "none") as vm:
        to_step_1(vm)
        vm.qmp.command("stop")
        check_forbidden(vm, "by the policy of 'd0' (allow=none): start it with allow=read")
        to_the_end(vm)
        expect("debugging of private memory" not in vm.errors(), "no notice")


def test_read(options, regime):
    with machine(options, regime, "read") as vm:
        to_step_1(vm)
        check_forbidden(vm, "can't be read while the guest runs: stop")
        vm.qmp.command("stop")
        before = vm.qmp.command("x-query-ramblock-attributes")
        path = os.path.join(vm.folder, "saved")
        for command in ("pmemsave", "memsave"):
            vm.qmp.command(command, val=WINDOW, size=PAGES * PAGE, filename=path)
            with open(path, "rb") as file:
                expect(file.read() == window(), command)
        vm.qmp.command("pmemsave", val=0, size=MEMORY, filename=path)
        with open(path, "rb") as file:
            expect(file.read()[WINDOW:WINDOW + PAGES * PAGE] == window(), "pmemsave of all RAM")
        for offset, size in ((1, 1), (5, 8), (PAGE - 3, 7), (4 * PAGE - 1, PAGE + 2), (9, 60000)):
            result = vm.qmp.command("x-debug-read", address=WINDOW + offset, size=size,
                                    space="virtual", **{"cpu-index": 0})
            expect(data_of(result) == window()[offset:offset + size], f"{offset}+{size}")
        code = vm.qmp.hmp("x/40i $rip")
        expect("testb" in code or "built without capstone" in code, f"the guest's loop: {code}")
        desc = error_of(vm.qmp.execute("x-debug-write", address=WINDOW, data="AAAA"))
        expect("start it with allow=read-write" in desc, desc)
        expect(vm.qmp.command("x-query-ramblock-attributes") == before, "attributes are kept")
        causes = {c["cause"] for c in vm.qmp.command("x-query-conversions", limit=1000)}
        expect(("debug" in causes) == (regime in ("memfd", "guest-memfd")), f"causes: {causes}")
        desc = error_of(vm.qmp.execute("object-del", id="d0"))
        expect("in use" in desc, desc)
        to_the_end(vm)
        expect("debugging of private memory is allowed by 'd0': it can be read (allow=read)"
               in vm.errors(), "the notice")


def test_write(options, regime):
    with machine(options, regime, "read-write") as vm:
        to_step_1(vm)
        vm.qmp.command("stop")
        for offset, size in ((3, 1), (8, 8), (2 * PAGE - 5, 17), (SHARED * PAGE - 9, PAGE + 20)):
            written = bytes(range(7, 7 + size % 200)) + bytes(size - size % 200)
            old = window()[offset:offset + size]
            for data in (written, old):
                vm.qmp.command("x-debug-write", address=WINDOW + offset,
                               data=base64.b64encode(data).decode())
                result = data_of(vm.qmp.command("x-debug-read", address=WINDOW, size=8 * PAGE))
                wanted = bytearray(window()[:8 * PAGE])
                wanted[offset:offset + size] = data
                expect(result == bytes(wanted), f"after writing {offset}+{size}")
        for bad in ("", "AAA", "AA=A", "AAAA ", "====", "A==="):
            desc = error_of(vm.qmp.execute("x-debug-write", address=WINDOW, data=bad))
            expect(desc == "Parameter 'data' expects base64", f"'{bad}': {desc}")
        to_the_end(vm)


def test_ordinary_vm(options):
    with machine(options, "default", image="hello", append="", more=["-S"]) as vm:
        info = vm.qmp.command("query-debug")
        expect(info["private-memory"] is False, f"query-debug: {info}")
        path = os.path.join(vm.folder, "saved")
        desc = error_of(vm.qmp.execute("pmemsave", val=MEMORY - 16, size=32, filename=path))
        expect(f"Invalid addr 0x{MEMORY:016x}/size 16 specified" in desc, desc)
        expect(not os.path.exists(path), "a partial file")
        desc = error_of(vm.qmp.execute("memsave", val=0, size=1, filename=path,
                                       **{"cpu-index": 1}))
        expect(desc == "Parameter 'cpu-index' expects a CPU number", desc)
        expect(vm.qmp.hmp("info tlb") == "PG disabled\n", "info tlb without paging")
        vm.qmp.command("memsave", val=0x100000, size=16, filename="/dev/null")
        for size in (0, 1 << 40):
            desc = error_of(vm.qmp.execute("x-debug-read", address=0, size=size))
            expect("'size'" in desc, desc)
        vm.qmp.command("cont")
        vm.wait_for(r"^PASS$", TIMEOUT)


def refusal(options, args):
    done = subprocess.run([options.binary, *args, "-S", "-display", "none"], timeout=TIMEOUT,
                          capture_output=True, text=True)
    expect(done.returncode == 1 and done.stderr.count("\n") == 1, f"refused: {done}")
    return done.stderr


def test_refused_at_start(options):
    args = arguments("guest-memfd", "read")
    text = refusal(options, [a.replace("id=d0", "id=d1") for a in args])
    expect("-machine: debug=d0: there is no such object: -object sw-protected-vm-debug,id=d0"
           in text, text)
    text = refusal(options, [a.replace("debug=d0", "debug=mem0") for a in args])
    expect("isn't for debugging" in text, text)
    text = refusal(options, ["-accel", "soft", "-machine", "q35,debug=d0", "-object",
                             "sw-protected-vm-debug,id=d0"])
    expect("is for kvm-type=sw-protected-vm" in text, text)
    text = refusal(options, [a.replace("allow=read", "allow=perhaps") for a in args])
    expect("Parameter 'allow' does not accept value 'perhaps'" in text, text)


TESTS = [(f"{name}-{regime}", function, regime)
         for name, function in (("without-object", test_without_object),
                                ("forbidden-by-policy", test_forbidden_by_policy),
                                ("read", test_read), ("write", test_write))
         for regime in REGIMES] + [
    ("ordinary-vm", test_ordinary_vm), ("refused-at-start", test_refused_at_start)]

if __name__ == "__main__":
    sys.exit(main(TESTS, __doc__))
