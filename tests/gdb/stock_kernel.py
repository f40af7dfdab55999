# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of gdb on a stock Linux share: the VM in each spelling, and gdb itself."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError, protected        # noqa: E402

EXIT_SKIP = 77
TIMEOUT = 120 * int(os.environ.get("TEST_SLOWER", "1"))
PROMPT = r"^guest# "
GDB_SETUP = ["set pagination off", "set confirm off", "set width 0", "set remotetimeout 60",
             "set architecture i386:x86-64"]


def machine(kind, policy=0):
    """cloister's options for a VM that a debugger may change."""
    if kind == "default":
        return ["-machine", "q35", "-m", "256M"]
    if kind == "sev":
        return ["-machine", "q35,kvm-type=sev,confidential-guest-support=sev0,debug=d0",
                "-m", "256M", "-object",
                f"sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy={policy}",
                "-object", "sev-guest-debug,id=d0"]
    options = protected(kind, "256M")
    options[1] += ",debug=d0"
    return ["-object", "sw-protected-vm-debug,id=d0,allow=read-write", *options]


def fail(text):
    """A SEV guest in software isn't to be had everywhere."""
    if "userfaultfd" in text:
        print(f"skipped: {text}")
        sys.exit(EXIT_SKIP)
    raise VmError(text)


class Linux(Vm):
    """vmlinuz and initrd.gz of a folder, with a gdb stub on a unix socket."""

    def __init__(self, setting, options, append="", more=()):
        self.stub_folder = tempfile.TemporaryDirectory(prefix="cloister-gdb-")
        self.stub = os.path.join(self.stub_folder.name, "gdb.sock")
        super().__init__(setting.binary, [
            "-accel", setting.accel, *options, "-kernel", os.path.join(setting.files, "vmlinuz"),
            "-initrd", os.path.join(setting.files, "initrd.gz"),
            "-append", f"console=ttyS0 panic=-1 nokaslr {append}", "-gdb", f"unix:{self.stub}",
            *more])
        self.wait_for_stub()

    def wait_for_stub(self):
        deadline = time.monotonic() + TIMEOUT
        while not os.path.exists(self.stub):
            if self.process.poll() is not None or time.monotonic() > deadline:
                fail(f"no gdb stub: {self.errors()}")
            time.sleep(0.02)

    def close(self):
        super().close()
        self.stub_folder.cleanup()

    def wait_for(self, pattern, timeout, start=0):
        try:
            return super().wait_for(pattern, timeout, start)
        except VmError as error:
            fail(str(error))

    def shell(self, line, pattern):
        start = len(self.console)
        self.type(line + "\n")
        return self.wait_for(pattern, TIMEOUT, start)

    def power_off(self):
        self.type("poweroff -f\n")
        if self.wait_end(TIMEOUT) != 0:
            raise VmError(self.errors())


def missing_parts(files):
    """None, or what of the parts isn't there."""
    for name in ("vmlinuz", "initrd.gz"):
        if not os.path.exists(os.path.join(files, name)):
            return f"no {files}/{name}: make guest-files"
    return None if shutil.which("gdb") else "no gdb: apt-get install gdb"


def kernel_symbols(vm, names):
    """Addresses as the guest's kernel says them."""
    vm.wait_for(PROMPT, TIMEOUT)
    vm.shell("cat /proc/sys/kernel/kptr_restrict; mount -t proc proc /proc 2>/dev/null; echo ready",
             r"^ready$")
    start = len(vm.console)
    vm.shell(f"grep -E ' ({'|'.join(names)})$' /proc/kallsyms; echo 'that is' all",
             r"^that is all$")
    found = {name: int(addr, 16) for addr, name in
             re.findall(r"^([0-9a-f]{16}) \w (\w+)$", vm.console[start:], re.M)}
    if set(names) - set(found):
        raise VmError(f"/proc/kallsyms lacks {set(names) - set(found)}:\n{vm.console[-1500:]}")
    return found


def gdb(stub, commands, elf=None):
    """gdb with these commands, on its way; its output is a pipe."""
    lines = GDB_SETUP + [f"target remote {stub}"] + commands
    return subprocess.Popen(["gdb", "-nx", "-nh", "-batch",
                             *(word for line in lines for word in ("-ex", line)),
                             *([elf] if elf else [])],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def in_order(text, patterns):
    """The match of each, one behind the other."""
    at, found = 0, []
    for pattern in patterns:
        match = re.compile(pattern, re.M).search(text, at)
        if not match:
            raise VmError(f"no '{pattern}' (in that place) in:\n{text}")
        at = match.end()
        found.append(match)
    return found


def finish(process, patterns):
    """The matches of what it must print, in this order, until it ends."""
    try:
        text, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise VmError(f"gdb doesn't end:\n{process.communicate()[0]}") from None
    return in_order(text, patterns)
