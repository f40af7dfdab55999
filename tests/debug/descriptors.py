# SPDX-License-Identifier: LGPL-2.1-or-later
"""descriptors.py: getfd and closefd, and guest memory through descriptors."""
import base64
import os
import sys
import threading

from access import PAGE, PAGES, SHARED, WINDOW, contents, error_of, to_step_1, to_the_end, window
from debug_vm import MEMORY, TIMEOUT, expect, machine, main
from dump import Core


def open_descriptors(vm):
    return len(os.listdir(f"/proc/{vm.process.pid}/fd"))


def memfd(data=b""):
    fd = os.memfd_create("test")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def contents_of(fd):
    return os.pread(fd, MEMORY * 2, 0)


def test_names(options):
    with machine(options, "default", image="hello", append="", more=["-S"]) as vm:
        fd = memfd()
        desc = error_of(vm.qmp.execute("getfd", fdname="a"))
        expect(desc == "No file descriptor supplied via SCM_RIGHTS", desc)
        before = open_descriptors(vm)
        for name in ("a", "b", "a", "a"):
            expect(vm.qmp.pass_fd(fd, name) == {"return": {}}, "getfd")
        expect(open_descriptors(vm) == before + 2, "one for each name")
        desc = error_of(vm.qmp.pass_fd(fd, "1a"))
        expect("not starting with a digit" in desc, desc)
        vm.qmp.command("getfd", fdname="c")     # what came with the refused one is there still
        vm.qmp.command("closefd", fdname="a")
        desc = error_of(vm.qmp.execute("closefd", fdname="a"))
        expect(desc == "File descriptor named 'a' not found", desc)
        expect(open_descriptors(vm) == before + 2, "b and c")
        # Whatever is passed along with anything: one is kept, and goes with the connection.
        for _ in range(100):
            vm.qmp.sock.sendmsg([b" "], [(1, 1, (fd).to_bytes(4, "little") * 20)])
        vm.qmp.command("query-status")
        expect(open_descriptors(vm) <= before + 3, "descriptors don't pile up")
        vm.qmp.close()
        vm._qmp = None
        vm.qmp.command("query-status")
        expect(open_descriptors(vm) == before, "they go with the connection")
        os.close(fd)


def test_read(options, regime):
    with machine(options, regime, "read-write") as vm:
        to_step_1(vm)
        vm.qmp.command("stop")
        fd = memfd()
        vm.qmp.pass_fd(fd, "out")
        result = vm.qmp.command("x-debug-read", address=WINDOW, size=PAGES * PAGE, fdname="out")
        expect(result == {"size": PAGES * PAGE} and contents_of(fd) == window(), "the window")
        desc = error_of(vm.qmp.execute("x-debug-read", address=0, size=1, fdname="out"))
        expect("'out' not found" in desc, "it is used up")
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        vm.qmp.pass_fd(fd, "out")
        result = vm.qmp.command("x-debug-read", address=WINDOW, size=MEMORY, fdname="out")
        expect(result["size"] == MEMORY - WINDOW and result["failed-address"] == MEMORY and
               contents_of(fd)[:PAGES * PAGE] == window(), "up to the end of RAM")
        data = os.urandom(3 * PAGE)
        for content in (data, window()[100:100 + len(data)]):
            source = memfd(content)
            vm.qmp.pass_fd(source, "in")
            vm.qmp.command("x-debug-write", address=WINDOW + 100, fdname="in", size=len(content))
            result = vm.qmp.command("x-debug-read", address=WINDOW + 100, size=len(content))
            expect(base64.b64decode(result["data"]) == content, "what was written")
            os.close(source)
        check_refusals(vm)
        to_the_end(vm)


def check_refusals(vm):
    source = memfd(b"short")
    reader, writer = os.pipe()
    for fd, more, words in ((source, {"size": 6}, "No data available"),
                            (source, {}, "'size' expects"), (reader, {"size": 1}, "expects a file"),
                            (source, {"size": 5, "data": "AAAA"}, "either 'data' or 'fdname'")):
        os.lseek(source, 0, os.SEEK_SET)
        vm.qmp.pass_fd(fd, "in")
        desc = error_of(vm.qmp.execute("x-debug-write", address=WINDOW, fdname="in", **more))
        expect(words in desc, f"{more}: {desc}")
    desc = error_of(vm.qmp.execute("x-debug-write", address=WINDOW))
    expect("either 'data' or 'fdname'" in desc, desc)
    vm.qmp.pass_fd(reader, "in")
    desc = error_of(vm.qmp.execute("x-debug-read", address=WINDOW, size=1, fdname="in"))
    expect("Bad file descriptor" in desc, desc)
    for fd in (source, reader, writer):
        os.close(fd)


def test_dump(options):
    with machine(options, "private") as vm:
        to_step_1(vm)
        fd = memfd()
        vm.qmp.pass_fd(fd, "core")
        vm.qmp.command("dump-guest-memory", paging=False, protocol="fd:core")
        path = os.path.join(vm.folder, "core")
        with open(path, "wb") as file:
            file.write(contents_of(fd))
        expect(Core(path).physical(WINDOW + SHARED * PAGE, PAGE) == contents(PAGES + 1), "a memfd")
        # A pipe, that is read while it is written.
        reader, writer = os.pipe()
        vm.qmp.pass_fd(writer, "core")
        os.close(writer)
        taken = []

        def drain():
            while data := os.read(reader, 65536):
                taken.append(data)
        thread = threading.Thread(target=drain)
        thread.start()
        vm.qmp.command("dump-guest-memory", paging=False, protocol="fd:core")
        thread.join(TIMEOUT)
        expect(b"".join(taken) == contents_of(fd) or len(b"".join(taken)) == len(contents_of(fd)),
               "a pipe")
        desc = error_of(vm.qmp.execute("dump-guest-memory", paging=False, protocol="fd:core"))
        expect("'core' not found" in desc, desc)
        to_the_end(vm)


TESTS = [("names", test_names), ("read-private", test_read, "private"),
         ("read-guest-memfd", test_read, "guest-memfd"), ("dump", test_dump)]

if __name__ == "__main__":
    sys.exit(main(TESTS, __doc__))
