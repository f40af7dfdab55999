# SPDX-License-Identifier: LGPL-2.1-or-later
"""dump.py: core files of guests, read as ELF says, and by gdb and readelf where they are."""
import json
import os
import re
import shutil
import struct
import subprocess
import sys

from access import (PAGE, PAGES, SHARED, WINDOW, contents, error_of, known_window, to_step_1,
                    to_the_end, window)
from debug_vm import MEMORY, TIMEOUT, expect, machine, main

PT_LOAD, PT_NOTE = 1, 4


class Core:
    """An ELF core file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        ident, kind, arch = struct.unpack_from("<16sHH", self.data, 0)
        expect(ident[:7] == b"\x7fELF\2\1\1" and kind == 4 and arch == 62, "an ELF core file")
        offset, sections = struct.unpack_from("<QQ", self.data, 32)
        entry_size, count, _, section_count = struct.unpack_from("<HHHH", self.data, 54)
        if count == 0xffff:
            expect(section_count == 1, "a section header")
            count = struct.unpack_from("<I", self.data, sections + 44)[0]
        expect(entry_size == 56, "size of a program header")
        self.loads, self.notes = [], []
        for n in range(count):
            kind, _, start, gva, gpa, size, full = struct.unpack_from(
                "<IIQQQQQ", self.data, offset + n * 56)
            expect(start + size <= len(self.data), f"segment {n} is in the file")
            if kind == PT_LOAD:
                self.loads.append((gva, gpa, full, size, start))
            else:
                self.read_notes(start, size)

    def read_notes(self, at, size):
        end = at + size
        while at < end:
            name_size, size, kind = struct.unpack_from("<III", self.data, at)
            name = self.data[at + 12:at + 12 + name_size - 1].decode()
            at += 12 + (name_size + 3 & ~3)
            self.notes.append((name, kind, self.data[at:at + size]))
            at += size + 3 & ~3

    def note(self, name, kind):
        return [data for n, k, data in self.notes if (n, k) == (name, kind)]

    def physical(self, gpa, size):
        """None: not in the file."""
        for _, base, _, have, start in self.loads:
            if base <= gpa and gpa + size <= base + have:
                return self.data[start + gpa - base:start + gpa - base + size]
        return None

    def missing(self):
        return [pair for data in self.note("CLOISTER", 1) for pair in
                struct.iter_unpack("<QQ", data)]


def dump(vm, name="core", **more):
    path = os.path.join(vm.folder, name)
    arguments = {"paging": False, "protocol": f"file:{path}"}
    vm.qmp.command("dump-guest-memory", **{**arguments, **more})
    event = next(e for e in vm.qmp.events if e["event"] == "DUMP_COMPLETED")
    vm.qmp.events.clear()
    expect("error" not in event["data"], f"completed: {event}")
    result = event["data"]["result"]
    expect(result == vm.qmp.command("query-dump"), "query-dump says what the event said")
    expect(result["status"] == "completed" and result["completed"] == result["total"], f"{result}")
    return Core(path), result


def register(vm, name):
    return int(vm.qmp.hmp(f"p/x ${name}"), 16)


def check_registers(vm, core):
    status = core.note("CORE", 1)
    cpu = core.note("QEMU", 0)
    expect(len(status) == len(cpu) == 2 and len(status[0]) == 0x150 and len(cpu[0]) == 0x1b8,
           "a note of each kind for each vCPU")
    rip, rsp = (struct.unpack_from("<Q", status[0], 112 + 8 * n)[0] for n in (16, 19))
    expect((rip, rsp) == (register(vm, "rip"), register(vm, "rsp")), "NT_PRSTATUS")
    rip, = struct.unpack_from("<Q", cpu[0], 8 + 8 * 16)
    cr = struct.unpack_from("<5Q", cpu[0], 8 + 18 * 8 + 10 * 24)
    expect(rip == register(vm, "rip") and cr[0] == register(vm, "cr0") and
           cr[3] == register(vm, "cr3") and cr[4] == register(vm, "cr4"), "QEMU's note")
    selector, limit, flags = struct.unpack_from("<III", cpu[0], 8 + 18 * 8)
    text = f"CS ={selector:04x} {0:016x} {limit:08x} {flags:08x}"
    expect(text in vm.qmp.hmp("info registers"), f"{text} in info registers")


def check_gdb(vm, path):
    gdb = shutil.which("gdb")
    if not gdb:
        return
    gpa = WINDOW + 3 * PAGE
    done = subprocess.run([gdb, "-nx", "-batch", "-c", path, "-ex", "info threads", "-ex", "p/x $rip",
                           "-ex", f"x/2xg {gpa}", "-ex", "thread 2"], capture_output=True,
                          text=True, timeout=TIMEOUT, check=False)
    first, second = struct.unpack("<QQ", contents(4)[:16])
    expect(f"= {register(vm, 'rip'):#x}" in done.stdout and
           f"{gpa:#x}:\t{first:#018x}\t{second:#018x}" in done.stdout and
           "Switching to thread 2" in done.stdout, f"gdb: {done.stdout} {done.stderr}")


def check_readelf(path):
    readelf = shutil.which("readelf")
    if not readelf:
        return
    done = subprocess.run([readelf, "-W", "-l", "-n", path], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    expect(done.returncode == 0 and not done.stderr and "NT_PRSTATUS" in done.stdout,
           f"readelf: {done.stdout} {done.stderr}")


def test_readable(options, regime):
    with machine(options, regime, None if regime == "default" else "read",
                 more=["-smp", "2"]) as vm:
        wanted = known_window(vm, regime)
        core, result = dump(vm)
        names = [e["event"] for e in vm.qmp.events]
        expect("missing" in result and result["missing"] == 0 and result["total"] == MEMORY,
               f"{result} {names}")
        expect(vm.qmp.command("query-status")["running"], "it runs again")
        vm.qmp.command("stop")
        core, _ = dump(vm, "core2")
        check_registers(vm, core)
        expect(core.physical(WINDOW, PAGES * PAGE) == wanted, "the window")
        expect(core.missing() == [], "nothing is missing")
        expect(sum(load[3] for load in core.loads) == MEMORY, "all RAM")
        path = os.path.join(vm.folder, "core2")
        expect(os.stat(path).st_mode & 0o777 == 0o400, "mode 0400")
        check_gdb(vm, path)
        check_readelf(path)
        # The guest maps 4 GiB to itself: RAM is what can be in a file.
        core, _ = dump(vm, "core3", paging=True)
        expect(all(gva == gpa for gva, gpa, *_ in core.loads), "identity mapped")
        expect(core.physical(WINDOW, PAGES * PAGE) == wanted, "the window with paging")
        check_gdb(vm, os.path.join(vm.folder, "core3"))
        core, result = dump(vm, "core4", begin=WINDOW + 100, length=PAGE * 3)
        expect(core.physical(WINDOW + 100, PAGE * 3) == wanted[100:100 + 3 * PAGE] and
               result["total"] == 3 * PAGE and len(core.loads) == 1, "a part")
        if regime != "default":
            to_the_end(vm)


def test_unreadable(options, regime):
    """Private memory that may not be read is marked or left out, and said to be missing."""
    with machine(options, regime) as vm:
        to_step_1(vm)
        gpa = WINDOW + SHARED * PAGE
        core, result = dump(vm)
        shared = sum(load[3] for load in core.loads)
        expect(result["missing"] == MEMORY - shared and result["total"] == shared, f"{result}")
        expect(sum(load[2] for load in core.loads) == MEMORY, "all RAM has segments")
        expect(core.physical(gpa, PAGE) == contents(PAGES + 1), "the shared page")
        expect(core.physical(gpa - 8, 8) is None, "no content beside it")
        missing = core.missing()
        expect(sum(size for _, size in missing) == result["missing"] and
               (gpa + PAGE, MEMORY - gpa - PAGE) in missing, f"missing: {missing}")
        secret = contents(4)[:64]
        expect(secret not in core.data, "private content")
        core, result = dump(vm, "core2", **{"x-unreadable": "omit"})
        expect(all(load[2] == load[3] for load in core.loads) and core.missing() == missing,
               "left out")
        expect("Not readable:" in vm.qmp.hmp("info dump"), "info dump")
        check_readelf(os.path.join(vm.folder, "core2"))
        core, result = dump(vm, "core3", begin=gpa - PAGE, length=3 * PAGE)
        expect(core.missing() == [(gpa - PAGE, PAGE), (gpa + PAGE, PAGE)] and
               result["total"] == PAGE, "a part")
        to_the_end(vm)


def together(vm, *commands):
    """Commands sent at once; their replies."""
    vm.qmp.sock.sendall(b"".join(
        json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n"
        for name, arguments in commands))
    replies = []
    while len(replies) < len(commands):
        message = vm.qmp.receive()
        (vm.qmp.events if "event" in message else replies).append(message)
    return replies


def test_detach(options):
    with machine(options, "default", append="step") as vm:
        vm.wait_for(r"^step 0.*\nwaiting for a key", TIMEOUT)
        path = os.path.join(vm.folder, "core")
        arguments = {"paging": False, "protocol": f"file:{path}", "detach": True}
        # Commands that are there already come before the dump goes on.
        _, status, again = together(vm, ("dump-guest-memory", arguments), ("query-dump", {}),
                                    ("dump-guest-memory", arguments))
        status = status["return"]
        expect(status["status"] == "active" and status["total"] == MEMORY, f"{status}")
        expect("There is a dump in process" in error_of(again), f"{again}")
        while vm.qmp.command("query-dump")["status"] == "active":
            pass
        events = [e["event"] for e in vm.qmp.events]
        expect(events == ["STOP", "DUMP_COMPLETED", "RESUME"], f"{events}")
        expect(Core(path).physical(WINDOW + PAGE, PAGE) == contents(2), "the file")
        expect("Status: completed" in vm.qmp.hmp("info dump"), "info dump")
        # Somebody lets the guest go on: what there is isn't a dump.
        vm.qmp.events.clear()
        together(vm, ("dump-guest-memory", arguments), ("cont", {}))
        while vm.qmp.command("query-dump")["status"] == "active":
            pass
        event = next(e for e in vm.qmp.events if e["event"] == "DUMP_COMPLETED")
        expect("let go on" in event["data"]["error"], f"{event}")
        expect(not os.path.exists(path), "no file")
        together(vm, ("dump-guest-memory", arguments), ("quit", {}))
        vm.wait_end(TIMEOUT)
        expect(not os.path.exists(path), "no file when it is ended in the middle")


def test_refused(options):
    with machine(options, "default", image="hello", append="", more=["-S"]) as vm:
        path = os.path.join(vm.folder, "core")
        base = {"paging": False, "protocol": f"file:{path}"}
        for more, words in (
                ({"protocol": path}, "Invalid parameter 'protocol'"),
                ({"protocol": f"file:{path}/no"}, "can't open the dump file"),
                ({"begin": 0}, "Parameter 'length' is missing"),
                ({"length": 4096}, "Parameter 'begin' is missing"),
                ({"begin": 0, "length": 0}, "'length'"),
                ({"begin": 1 << 40, "length": 4096}, "there is no memory in 0x10000000000"),
                ({"begin": 0, "length": 4096, "paging": True}, "paging"),
                ({"format": "elf64"}, "elf64"),
                ({"protocol": "file:/dev/full"}, "writing the dump failed: No space left")):
            desc = error_of(vm.qmp.execute("dump-guest-memory", **{**base, **more}))
            expect(words in desc, f"{more}: {desc}")
            expect(not os.path.exists(path), "no file")
        expect(vm.qmp.command("query-dump")["status"] == "failed", "query-dump")
        text = vm.qmp.hmp(f"dump-guest-memory -p {path}")
        expect(text == "", f"HMP: {text}")
        expect(re.search("Status: completed", vm.qmp.hmp("info dump")), "info dump")
        expect(Core(path).physical(0, 16) is not None, "without paging there is no paging")


TESTS = [(f"readable-{regime}", test_readable, regime)
         for regime in ("default", "private", "guest-memfd")] + [
    ("unreadable-private", test_unreadable, "private"),
    ("unreadable-guest-memfd", test_unreadable, "guest-memfd"),
    ("detach", test_detach), ("refused", test_refused)]

if __name__ == "__main__":
    sys.exit(main(TESTS, __doc__))
