# SPDX-License-Identifier: LGPL-2.1-or-later
"""kdump_dump.py: dumps in makedumpfile's format, read by a reader of their own
(kdump.py), held against ELF cores of the same guest, and by makedumpfile where it is.
"""
import os
import shutil
import subprocess
import sys

from access import PAGE, PAGES, SHARED, WINDOW, contents, error_of, known_window, to_step_1, window
from debug_vm import MEMORY, TIMEOUT, expect, machine, main
from dump import Core, dump
from kdump import Bad, Kdump, unflatten


def kdump(vm, form, name, **more):
    """A dump in that form: the file's path, what is in it, query-dump's answer."""
    path = os.path.join(vm.folder, name)
    vm.qmp.command("dump-guest-memory", paging=False, protocol=f"file:{path}", format=form, **more)
    result = vm.qmp.command("query-dump")
    expect(result["status"] == "completed" and result["completed"] == result["total"], f"{result}")
    with open(path, "rb") as file:
        data = file.read()
    try:
        return path, Kdump(unflatten(data) if form == "kdump-zlib" else data), result
    except Bad as error:
        raise AssertionError(f"{form}: not {error}") from None


def same_memory(file, core):
    """Page for page what the ELF core has, and nothing that it hasn't."""
    for pfn in range(MEMORY // PAGE):
        expect(file.page(pfn) == core.physical(pfn * PAGE, PAGE), f"page {pfn:#x}")
        expect(file.is_ram(pfn * PAGE), f"page {pfn:#x} is RAM")


def check_makedumpfile(vm, path, raw):
    tool = shutil.which("makedumpfile")
    if not tool:
        return
    out = os.path.join(vm.folder, "rearranged")
    with open(path, "rb") as file:
        done = subprocess.run([tool, "-R", out], stdin=file, capture_output=True, text=True,
                              timeout=TIMEOUT, check=False)
    expect(done.returncode == 0, f"makedumpfile -R: {done.stdout} {done.stderr}")
    with open(out, "rb") as file, open(raw, "rb") as same:
        # The time of the dump is in its header.
        expect(file.read()[4096:] == same.read()[4096:], "makedumpfile -R makes the raw form")


def test_readable(options, regime):
    with machine(options, regime, None if regime == "default" else "read",
                 more=["-smp", "2"]) as vm:
        wanted = known_window(vm, regime)
        vm.qmp.command("stop")
        core, _ = dump(vm)
        flat, file, result = kdump(vm, "kdump-zlib", "flat")
        expect(result["missing"] == 0 and result["total"] == MEMORY, f"{result}")
        same_memory(file, core)
        expect(file.physical(WINDOW, PAGES * PAGE) == wanted, "the window")
        expect(file.notes == core.notes and file.cpus == 2, "the notes")
        expect(file.status == 1 and file.names["machine"] == "x86_64", "the header")
        expect(file.pfns == MEMORY // PAGE == file.ram_blocks == file.written_blocks, "pages")
        zeroes = {file.descriptor(pfn)[0] for pfn in file.pages if not any(file.page(pfn))}
        expect(len(zeroes) == 1, f"one page of zeroes: {len(zeroes)}")
        raw, file, _ = kdump(vm, "kdump-raw-zlib", "raw")
        same_memory(file, core)
        expect(os.stat(raw).st_size < MEMORY // 4, "it is compressed")
        check_makedumpfile(vm, flat, raw)


def test_unreadable(options, regime):
    """Pages that may not be read are known, and have no content."""
    with machine(options, regime) as vm:
        to_step_1(vm)
        vm.qmp.command("stop")
        shared = WINDOW + SHARED * PAGE
        core, _ = dump(vm)
        for form in ("kdump-zlib", "kdump-raw-zlib"):
            _, file, result = kdump(vm, form, form)
            same_memory(file, core)
            expect(result["missing"] == MEMORY - len(file.pages) * PAGE and result["missing"],
                   f"{result}")
            expect(file.physical(shared, PAGE) == contents(PAGES + 1), "the shared page")
            expect(file.page((shared - PAGE) // PAGE) is None, "the private page beside it")
            expect(contents(4)[:64] not in b"".join(map(file.page, file.pages)), "private content")
            expect(file.notes == core.notes, "the note about what is missing")
            _, file, _ = kdump(vm, form, form + "-omit", **{"x-unreadable": "omit"})
            expect(not file.is_ram(shared - PAGE) and file.is_ram(shared), "left out")
            expect(file.physical(shared, PAGE) == contents(PAGES + 1), "the shared page")


def through_pipe(vm, form):
    """The reply, and what came out of the pipe; detached, so that it can be read meanwhile."""
    ends = os.pipe()
    vm.qmp.pass_fd(ends[1], "target")
    os.close(ends[1])
    reply = vm.qmp.execute("dump-guest-memory", paging=False, protocol="fd:target", format=form,
                           detach=True)
    with os.fdopen(ends[0], "rb") as file:
        return reply, file.read()


def wait_for_end(vm):
    while vm.qmp.command("query-dump")["status"] == "active":
        pass
    return [e for e in vm.qmp.events if e["event"] == "DUMP_COMPLETED"][-1]["data"]


def test_pipe(options):
    with machine(options, "default") as vm:
        vm.wait_for(r"^step 0.*\nwaiting for a key", TIMEOUT)
        reply, data = through_pipe(vm, "kdump-zlib")
        expect("return" in reply and "error" not in wait_for_end(vm), f"{reply}")
        file = Kdump(unflatten(data))
        expect(file.physical(WINDOW, PAGE) == contents(1), "the window")
        reply, data = through_pipe(vm, "kdump-raw-zlib")
        expect("kdump-raw formats require a seekable file" in error_of(reply) and not data,
               f"{reply}")
        # Its reader goes away in the middle.
        ends = os.pipe()
        vm.qmp.pass_fd(ends[1], "target")
        os.close(ends[1])
        vm.qmp.command("dump-guest-memory", paging=False, protocol="fd:target",
                       format="kdump-zlib", detach=True)
        os.read(ends[0], 4096)
        os.close(ends[0])
        expect("Broken pipe" in wait_for_end(vm)["error"], "a broken pipe")
        expect(vm.qmp.command("query-status")["running"], "the guest runs on")
        # A file that is open for appending can't be written at offsets.
        path = os.path.join(vm.folder, "appended")
        with open(path, "ab") as target:
            vm.qmp.pass_fd(target.fileno(), "target")
            desc = error_of(vm.qmp.execute("dump-guest-memory", paging=False,
                                           protocol="fd:target", format="kdump-raw-zlib"))
        expect("require a seekable file" in desc, desc)


def test_refused(options):
    with machine(options, "default", image="hello", append="", more=["-S"]) as vm:
        path = os.path.join(vm.folder, "core")
        with open(path, "wb") as file:
            file.write(b"mine")
        base = {"paging": False, "protocol": f"file:{path}"}
        for more, words in (
                ({"format": "kdump-lzo"}, "kdump-lzo is not available: kdump-zlib"),
                ({"format": "kdump-raw-snappy"}, "kdump-raw-snappy is not available"),
                ({"format": "win-dmp"}, "win-dmp is not available"),
                ({"format": "kdump-zlib", "paging": True}, "doesn't support paging or filter"),
                ({"format": "kdump-zlib", "begin": 0, "length": 4096},
                 "doesn't support paging or filter")):
            desc = error_of(vm.qmp.execute("dump-guest-memory", **{**base, **more}))
            expect(words in desc, f"{more}: {desc}")
        with open(path, "rb") as file:
            expect(file.read() == b"mine", "what was there is as it was")
        os.unlink(path)
        for form in ("kdump-zlib", "kdump-raw-zlib"):
            desc = error_of(vm.qmp.execute("dump-guest-memory", paging=False,
                                           protocol="file:/dev/full", format=form))
            expect("writing the dump failed: No space left" in desc, desc)
        formats = vm.qmp.command("query-dump-guest-memory-capability")["formats"]
        expect(formats == ["elf", "kdump-zlib", "kdump-raw-zlib"], f"{formats}")


def test_hmp(options):
    with machine(options, "default", image="hello", append="", more=["-S"]) as vm:
        path = os.path.join(vm.folder, "core")
        for flags, words in (("-z -l", "only one of '-z|-l|-s|-w' can be set"),
                             ("-R", "'-R' is for '-z', '-l' and '-s'"),
                             ("-w -R", "'-R' is for"), ("-l", "kdump-lzo is not available"),
                             ("-s -R", "kdump-raw-snappy is not available"),
                             ("-w", "win-dmp is not available")):
            text = vm.qmp.hmp(f"dump-guest-memory {flags} {path}")
            expect(words in text and not os.path.exists(path), f"{flags}: {text}")
        expect(vm.qmp.hmp(f"dump-guest-memory -z {path}") == "", "-z")
        with open(path, "rb") as file:
            Kdump(unflatten(file.read()))
        os.unlink(path)
        expect(vm.qmp.hmp(f"dump-guest-memory -z -R {path}") == "", "-z -R")
        with open(path, "rb") as file:
            Kdump(file.read())
        expect("Status: completed" in vm.qmp.hmp("info dump"), "info dump")


TESTS = [(f"readable-{regime}", test_readable, regime)
         for regime in ("default", "private", "guest-memfd")] + [
    ("unreadable-private", test_unreadable, "private"),
    ("unreadable-guest-memfd", test_unreadable, "guest-memfd"),
    ("pipe", test_pipe), ("refused", test_refused), ("hmp", test_hmp)]

if __name__ == "__main__":
    sys.exit(main(TESTS, __doc__))
