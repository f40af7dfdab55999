# SPDX-License-Identifier: LGPL-2.1-or-later
"""linux_kernel.py --binary CLOISTER --files FOLDER: gdb on a stock kernel in a protected VM.

The kernel has no symbols here: it says its addresses itself, in /proc/kallsyms.
FOLDER has vmlinuz and initrd.gz (make guest-files); status 77 where it or gdb hasn't.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError, protected        # noqa: E402

EXIT_SKIP = 77
TIMEOUT = 120 * int(os.environ.get("TEST_SLOWER", "1"))
PROMPT = r"^guest# "
NAMES = ("start_kernel", "__x64_sys_newuname", "do_syscall_64", "linux_banner")


class Linux(Vm):
    def __init__(self, setting):
        self.stub_folder = tempfile.TemporaryDirectory(prefix="cloister-gdb-")
        self.stub = os.path.join(self.stub_folder.name, "gdb.sock")
        machine = protected("guest-memfd", "256M")
        machine[1] += ",debug=d0"
        super().__init__(setting.binary, [
            "-accel", "soft", "-object", "sw-protected-vm-debug,id=d0,allow=read-write", *machine,
            "-kernel", os.path.join(setting.files, "vmlinuz"),
            "-initrd", os.path.join(setting.files, "initrd.gz"),
            "-append", "console=ttyS0 panic=-1 nokaslr", "-gdb", f"unix:{self.stub}"])

    def close(self):
        super().close()
        self.stub_folder.cleanup()

    def shell(self, line, pattern):
        start = len(self.console)
        self.type(line + "\n")
        return self.wait_for(pattern, TIMEOUT, start)


def gdb(stub, commands):
    """gdb with these commands, on its way; its output is a pipe."""
    lines = ["set pagination off", "set confirm off", "set width 0", "set remotetimeout 60",
             "set architecture i386:x86-64", f"target remote {stub}"] + commands
    return subprocess.Popen(["gdb", "-nx", "-nh", "-batch",
                             *(word for line in lines for word in ("-ex", line))],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def finish(process, patterns):
    try:
        text, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise VmError(f"gdb doesn't end:\n{process.communicate()[0]}") from None
    at, found = 0, []
    for pattern in patterns:
        match = re.compile(pattern, re.M).search(text, at)
        if not match:
            raise VmError(f"no '{pattern}' (in that place) in:\n{text}")
        at = match.end()
        found.append(match)
    return found


def kernel_symbols(vm):
    """Addresses as the guest's kernel says them."""
    vm.wait_for(PROMPT, TIMEOUT)
    vm.shell("cat /proc/sys/kernel/kptr_restrict; mount -t proc proc /proc 2>/dev/null; echo ready",
             r"^ready$")
    expression = "|".join(NAMES)
    start = len(vm.console)
    vm.shell(f"grep -E ' ({expression})$' /proc/kallsyms; echo 'that is' all", r"^that is all$")
    return {name: int(addr, 16) for addr, name in
            re.findall(r"^([0-9a-f]{16}) \w (\w+)$", vm.console[start:], re.M)}


def system_call(vm, at):
    """Stop in uname(2), look, change what it is about to tell, watch, go on."""
    uname = at["__x64_sys_newuname"]
    # What is typed now is read when gdb lets the guest run.
    vm.qmp.command("stop")
    start = len(vm.console)
    vm.type("uname -s; echo after $?\n")
    debugger = gdb(vm.stub, [
        f"hbreak *{uname:#x}", "continue", "print/x $pc", "x/1xg $rsp", "info registers cr0 efer",
        "x/s " + hex(at["linux_banner"]), "print/x $gs_base", "stepi", "stepi", "print/x $pc",
        "monitor info status", "delete", f"break *{uname:#x}", "detach"])
    found = finish(debugger, (
        r"Breakpoint 1, 0x", rf"\$1 = {uname:#x}$", r"^0x[0-9a-f]+:\t(0x[0-9a-f]+)$",
        r"cr0 .*\[.*PG.*PE.*\]|cr0 .*\[.*PE.*PG.*\]", r"efer .*LMA", r'"Linux version ',
        r"\$2 = 0xffff[0-9a-f]+", r"\$3 = 0x[0-9a-f]+", r"VM status: paused \(debug\)",
        r"detached"))
    back = int(found[2].group(1), 16)
    if not at["do_syscall_64"] < back < at["do_syscall_64"] + 0x200:
        raise VmError(f"called from {back:#x}, not by do_syscall_64 {at['do_syscall_64']:#x}")
    vm.wait_for(r"^after 0$", TIMEOUT, start)


def from_the_start(vm, at):
    """Before the kernel has page tables of its own: only a debug register can wait there."""
    vm.qmp.command("stop")
    vm.qmp.command("system_reset")
    start = len(vm.console)
    debugger = gdb(vm.stub, [
        f"hbreak *{at['start_kernel']:#x}", "continue", "print/x $pc",
        "x/s " + hex(at["linux_banner"]), "delete", f"break *{at['__x64_sys_newuname']:#x}",
        "continue", "print/x $pc", "delete", "detach"])
    vm.wait_for(r"Linux version", TIMEOUT, start)
    finish(debugger, (rf"\$1 = {at['start_kernel']:#x}$", r'"Linux version ', r"Breakpoint 2, ",
                      rf"\$2 = {at['__x64_sys_newuname']:#x}$", r"detached"))
    vm.wait_for(PROMPT, TIMEOUT, start)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--files", default="build/guest")
    arguments = parser.parse_args()
    for name in ("vmlinuz", "initrd.gz"):
        if not os.path.exists(os.path.join(arguments.files, name)):
            print(f"skipped: no {arguments.files}/{name}: make guest-files")
            return EXIT_SKIP
    if not shutil.which("gdb"):
        print("skipped: no gdb: apt-get install gdb")
        return EXIT_SKIP
    with Linux(arguments) as vm:
        at = kernel_symbols(vm)
        missing = set(NAMES) - set(at)
        if missing:
            raise VmError(f"/proc/kallsyms lacks {missing}:\n{vm.console[-1500:]}")
        system_call(vm, at)
        print("a system call of the running kernel: ok", flush=True)
        from_the_start(vm, at)
        print("from the reset to the shell: ok", flush=True)
        vm.type("poweroff -f\n")
        if vm.wait_end(TIMEOUT) != 0:
            raise VmError(vm.errors())
    return 0


try:
    sys.exit(main())
except (VmError, subprocess.TimeoutExpired) as error:
    sys.exit(f"FAILED: {error}")
