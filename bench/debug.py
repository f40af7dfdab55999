# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debuggers' access to a stock Linux guest of 1 GiB that is busy, on cloister (unprotected,
and with private memory that may be read) and on qemu-system-x86_64 -accel tcg (unprotected;
it has nothing else), in turn: reads by gdb's protocol and by QMP, dumps, single steps.
Dumps also beside a plain copy of as many bytes.
"""
import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from cloister_vm import Qmp, protected  # noqa: E402

MIB = 1 << 20
MEMORY = 1024 * MIB
DIRECT_MAP = 0xffff888000000000         # of Linux with nokaslr
GDB_READ, QMP_READ, STEPS, XP_LINES = 16 * MIB, 512 * MIB, 1000, 200
TIMEOUT = 300


class Stub:
    """gdb's remote protocol, as gdb uses it: large answers, no acknowledgements where it may."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(path)
        self.ack = True
        features = self.ask("qSupported:swbreak+;hwbreak+").split(";")
        sizes = [f for f in features if f.startswith("PacketSize=")]
        self.packet = int(sizes[0][11:], 16) if sizes else 1024
        if "QStartNoAckMode+" in features and self.ask("QStartNoAckMode") == "OK":
            self.ack = False

    def ask(self, text):
        data = text.encode()
        self.sock.sendall(b"$%s#%02x" % (data, sum(data) & 0xff))
        parts, tail = [], b""
        while b"#" not in tail[:-2]:
            part = self.sock.recv(1 << 20)
            if not part:
                sys.exit("bench/debug: the stub closed the connection")
            parts.append(part)
            tail = tail[-4:] + part
        if self.ack:
            self.sock.sendall(b"+")
        return b"".join(parts).lstrip(b"+")[1:-3].decode()

    def read(self, addr, size):
        # Two digits a byte, and the packet around them; gdb itself asks for no more than 16 KiB.
        most = min((self.packet - 8) // 2, 16384) & ~15
        for at in range(addr, addr + size, most):
            reply = self.ask(f"m{at:x},{min(most, addr + size - at):x}")
            if reply.startswith("E"):
                sys.exit(f"bench/debug: {at:#x} can't be read: {reply}")

    def steps(self, count):
        for _ in range(count):
            reply = self.ask("vCont;s:1")
            if not reply.startswith("T"):
                sys.exit(f"bench/debug: no step: {reply}")


class Guest:
    """A busy guest with QMP, stopped, and with a stub that nobody is connected to."""

    def __init__(self, build, command):
        self.folder = tempfile.mkdtemp(prefix="bench-debug-")
        self.gdb = os.path.join(self.folder, "gdb")
        qmp = os.path.join(self.folder, "qmp")
        console = os.path.join(self.folder, "console")
        self.process = subprocess.Popen(
            [*command, "-kernel", f"{build}/guest/vmlinuz", "-initrd", f"{build}/guest/initrd.gz",
             "-append", "console=ttyS0 nokaslr nopti", "-display", "none",
             "-chardev", f"socket,id=gdb,path={self.gdb},server=on,wait=off", "-gdb", "chardev:gdb",
             "-qmp", f"unix:{qmp},server=on,wait=off", "-serial", "stdio"],
            stdin=subprocess.PIPE, stdout=open(console, "wb"), stderr=subprocess.DEVNULL)
        self.qmp = Qmp(qmp)
        self.qmp.sock.settimeout(TIMEOUT)
        self.wait_for(console, b"guest# ")
        self.process.stdin.write(b"while :; do :; done\n")
        self.process.stdin.flush()
        time.sleep(1)
        self.qmp.command("stop")

    def wait_for(self, console, text):
        end = time.monotonic() + TIMEOUT
        while True:
            with open(console, "rb") as file:
                if text in file.read():
                    return
            if time.monotonic() > end or self.process.poll() is not None:
                sys.exit("bench/debug: a guest that didn't start: " + " ".join(self.process.args))
            time.sleep(0.1)

    def close(self):
        self.qmp.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


def ours(build, regime):
    if regime == "default":
        args = ["-machine", "q35", "-m", "1G"]
    else:
        args = protected(regime, "1G")
        args[args.index("-machine") + 1] += ",debug=d0"
        args += ["-object", "sw-protected-vm-debug,id=d0,allow=read-write"]
    return [f"{build}/cloister", "-accel", "soft", *args]


# --- What is measured: seconds for all of it ---

def gdb_read(guest, _):
    stub = Stub(guest.gdb)
    start = time.monotonic()
    stub.read(DIRECT_MAP + 16 * MIB, GDB_READ)
    seconds = time.monotonic() - start
    stub.sock.close()
    return seconds


def gdb_steps(guest, _):
    stub = Stub(guest.gdb)
    stub.ask("?")
    start = time.monotonic()
    stub.steps(STEPS)
    seconds = time.monotonic() - start
    stub.sock.close()
    guest.qmp.command("stop")
    return seconds


def qmp_save(guest, _):
    start = time.monotonic()
    guest.qmp.command("pmemsave", val=0, size=QMP_READ, filename="/dev/null")
    return time.monotonic() - start


def qmp_lines(guest, _):
    start = time.monotonic()
    for n in range(XP_LINES):
        guest.qmp.hmp(f"xp /1024xb {16 * MIB + 1024 * n}")
    return time.monotonic() - start


def dumper(form, name):
    def measure(guest, folder):
        target = name or os.path.join(folder, "dump")
        start = time.monotonic()
        guest.qmp.command("dump-guest-memory", paging=False, protocol=f"file:{target}", format=form)
        seconds = time.monotonic() - start
        if not name:
            os.unlink(target)
        return seconds
    return measure


def copy(source, target):
    """Seconds to read a file that is in memory and write it to another one."""
    buffer = memoryview(bytearray(4 * MIB))
    start = time.monotonic()
    with open(source, "rb", buffering=0) as file, open(target, "wb", buffering=0) as out:
        while n := file.readinto(buffer):
            out.write(buffer[:n])
    seconds = time.monotonic() - start
    if target != "/dev/null":
        os.unlink(target)
    return seconds


# Name, function, and where a plain copy would go that it is held against.
MEASURED = (
    ("read by gdb, 16 MiB", gdb_read, None), ("pmemsave, 512 MiB", qmp_save, None),
    ("200 lines of xp /1024xb", qmp_lines, None), ("1000 single steps", gdb_steps, None),
    ("dump to /dev/null", dumper("elf", "/dev/null"), "/dev/null"),
    ("dump to disk", dumper("elf", None), "copy"),
    ("kdump-zlib to /dev/null", dumper("kdump-zlib", "/dev/null"), None),
)


def in_turn(name, measures, runs):
    """measures: cloister's, the peer's and, where there is one, the copy's."""
    for measure in measures:
        measure()                       # none is the first to touch its pages
    times = [[measure() for measure in measures] for _ in range(runs)]
    medians = [statistics.median(column) for column in zip(*times)]
    ratios = [statistics.median(row[0] / row[i] for row in times) for i in range(len(measures))]
    line = (f"  {name:24} {medians[0]:7.3f} s, qemu tcg {medians[1]:7.3f} s, "
            f"ratio {ratios[1]:.2f} (target: at most 1)")
    if len(measures) > 2:
        line += f"; a copy {medians[2]:.3f} s, ratio {ratios[2]:.2f} (target: at most 2)"
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--regimes", default="default,private,guest-memfd")
    parser.add_argument("--only", default="", help="a part of the names of what is measured")
    options = parser.parse_args()
    if not shutil.which("qemu-system-x86_64"):
        sys.exit("bench/debug: needs qemu-system-x86 as the peer: tools/deps.sh bench")
    folder = tempfile.mkdtemp(prefix="bench-debug-", dir=options.build)
    source = tempfile.NamedTemporaryFile(dir="/dev/shm")
    for _ in range(MEMORY // (16 * MIB)):
        source.write(os.urandom(MIB) * 16)
    source.flush()
    peer = Guest(options.build, ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "1G",
                                 "-net", "none"])
    for regime in options.regimes.split(","):
        print(f"debugging, median of {options.runs}: cloister, {regime}")
        guest = Guest(options.build, ours(options.build, regime))
        for name, measure, target in MEASURED:
            if options.only not in name:
                continue
            measures = [partial(measure, guest, folder), partial(measure, peer, folder)]
            if target:
                measures.append(partial(copy, source.name, os.path.join(folder, target)))
            in_turn(name, measures, options.runs)
        guest.close()
    peer.close()
    source.close()
    shutil.rmtree(folder)


main()
