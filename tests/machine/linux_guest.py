# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stock kernel with a shell on its console, for tests: commands in, what they print out."""
import os
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError          # noqa: E402

EXIT_SKIP = 77
TIMEOUT = 240 * int(os.environ.get("TEST_SLOWER", "1"))
MIB = 1 << 20


class Guest(Vm):
    """A shell on the console of a guest with devices."""

    APPEND = ""

    def __init__(self, setting, *arguments, memory=("-m", "256M")):
        super().__init__(setting.binary, [
            "-accel", setting.accel, *memory, "-kernel", os.path.join(setting.files, "vmlinuz"),
            "-initrd", os.path.join(setting.files, "initrd.gz"),
            "-append", f"console=ttyS0 panic=-1 {self.APPEND}", *arguments])
        self.commands = 0

    def prompt(self):
        self.wait_for(r"^guest# ", TIMEOUT)

    def run(self, command):
        """What a command printed; it has to succeed."""
        self.commands += 1
        start = len(self.console)
        # Not mixed with the kernel's own lines, as far as that can be had.
        self.type(f"({command}) > /tmp-out 2>&1; echo; echo end-{self.commands}-$?; cat /tmp-out;"
                  f" echo all-{self.commands}-\n")
        status = self.wait_for(rf"^end-{self.commands}-(\d+)\n", TIMEOUT, start)
        end = self.wait_for(rf"^all-{self.commands}-\n", TIMEOUT, status.end())
        text = self.console[status.end():end.start()]
        if status.group(1) != "0":
            raise VmError(f"in the guest: {command}: status {status.group(1)}\n{text}")
        return text

    def event(self, name, device):
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            self.qmp.command("query-status")
            if any(e["event"] == name and e["data"].get("device") == device
                   for e in self.qmp.events):
                return
            self.pump(0.1)
        raise VmError(f"no {name} of {device} within {TIMEOUT} s")

    def dma(self, device):
        return next(d for d in self.qmp.command("x-query-dma") if d["path"].endswith("/" + device))

    def power_off(self):
        self.type("poweroff -f\n")
        status = self.wait_end(TIMEOUT)
        if status:
            raise VmError(f"cloister ended with status {status}: {self.errors()}")


def expect(condition, what):
    if not condition:
        raise VmError(what)


def tool(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if not found:
        print(f"skipped: lacks {name}")
        sys.exit(EXIT_SKIP)
    return found


def image(folder, name, size):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.truncate(size)
    return path
