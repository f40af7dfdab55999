# SPDX-License-Identifier: LGPL-2.1-or-later
"""linux_kernel.py --binary CLOISTER --files FOLDER KIND...: gdb on a stock kernel.

KIND: default, private, guest-memfd, sev.  The kernel has no symbols here: it says its
addresses itself, in /proc/kallsyms.  FOLDER has vmlinuz and initrd.gz (make guest-files);
status 77 where it or gdb hasn't.
"""
import argparse
import shutil
import subprocess
import sys

from stock_kernel import (EXIT_SKIP, PROMPT, TIMEOUT, Linux, VmError, finish, gdb, in_order,
                          kernel_symbols, machine, missing_parts)

NAMES = ("start_kernel", "__x64_sys_newuname", "__do_sys_newuname", "do_syscall_64",
         "linux_banner", "init_uts_ns")
SYSNAME, NODENAME = 0, 65       # in init_uts_ns


def system_call(vm, at):
    """Stop in uname(2), look, change what it is about to tell, watch who changes it, go on."""
    uname = at["__x64_sys_newuname"]
    # What is typed now is read when gdb lets the guest run.
    vm.qmp.command("stop")
    start = len(vm.console)
    vm.type("uname -s; hostname Zebra; uname -n; echo after $?\n")
    node = f"*(char*){at['init_uts_ns'] + NODENAME:#x}"
    name = f"*(char(*)[8]){at['init_uts_ns'] + SYSNAME:#x}"
    debugger = gdb(vm.stub, [
        f"hbreak *{uname:#x}", "continue", "print/x $pc", "x/1xg $rsp", "info registers cr0 efer",
        "x/s " + hex(at["linux_banner"]), "print/x $gs_base", "stepi", "stepi", "print/x $pc",
        "monitor info status", "delete", f"break *{at['__do_sys_newuname']:#x}", "continue",
        f"print {name}", f'set var {name} = "Changed"', f"print {name}",
        "delete", f"watch {node}", "continue", "backtrace 1", "delete", f"break *{uname:#x}",
        "detach"])
    found = finish(debugger, (
        r"Breakpoint 1, 0x", rf"\$1 = {uname:#x}$", r"^0x[0-9a-f]+:\t(0x[0-9a-f]+)$",
        r"cr0 .*\[.*PG.*PE.*\]|cr0 .*\[.*PE.*PG.*\]", r"efer .*LMA", r'"Linux version ',
        r"\$2 = 0xffff[0-9a-f]+", r"\$3 = 0x[0-9a-f]+", r"VM status: paused \(debug\)",
        r"Breakpoint 2, 0x", r'\$4 = "Linux\\000', r'\$5 = "Changed"', r"^Hardware watchpoint 3: ",
        r"^New value = 90 'Z'", r"^#0  0xffffffff8", r"detached"))
    back = int(found[2].group(1), 16)
    if not at["do_syscall_64"] < back < at["do_syscall_64"] + 0x200:
        raise VmError(f"called from {back:#x}, not by do_syscall_64 {at['do_syscall_64']:#x}")
    vm.wait_for(r"^Changed\nZebra$", TIMEOUT, start)
    vm.wait_for(r"^after 0$", TIMEOUT, start)


def from_the_start(vm, at):
    """Before the kernel has page tables of its own: only a debug register can wait there."""
    start = len(vm.console)
    debugger = gdb(vm.stub, [
        f"hbreak *{at['start_kernel']:#x}", "continue", "print/x $pc",
        "x/s " + hex(at["linux_banner"]), "delete", f"break *{at['__x64_sys_newuname']:#x}",
        "continue", "print/x $pc", "delete", "detach"])
    vm.wait_for(r"Linux version", TIMEOUT, start)
    finish(debugger, (rf"\$1 = {at['start_kernel']:#x}$", r'"Linux version ', r"Breakpoint 2, ",
                      rf"\$2 = {at['__x64_sys_newuname']:#x}$", r"detached"))
    vm.wait_for(PROMPT, TIMEOUT, start)


def lldb_session(vm, at):
    """Attach, stop at an address, registers, private memory, a step, go on."""
    program = next((p for p in ("lldb", "lldb-14") if shutil.which(p)), None)
    if not program:
        return "no lldb"
    vm.qmp.command("stop")
    start = len(vm.console)
    vm.type("uname -s; echo lldb $?\n")
    commands = [f"process connect --plugin gdb-remote unix-connect://{vm.stub}",
                f"breakpoint set -H -a {at['__x64_sys_newuname']:#x}", "continue",
                "register read rip cr3",
                f"memory read --format s {at['linux_banner']:#x}", "thread step-inst",
                "register read rip", "breakpoint delete -f", "detach"]
    ran = subprocess.run([program, "-b", "-x"] + [word for c in commands for word in ("-o", c)],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT, check=False)
    in_order(ran.stdout, (rf"rip = {at['__x64_sys_newuname']:#018x}", r"cr3 = 0x",
                          r'"Linux version ', r"rip = 0x", r"detached"))
    vm.wait_for(r"^lldb 0$", TIMEOUT, start)
    return "ok"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--accel", default="soft")
    parser.add_argument("--files", default="build/guest")
    parser.add_argument("kinds", nargs="+", metavar="KIND")
    arguments = parser.parse_args()
    missing = missing_parts(arguments.files)
    if missing:
        print(f"skipped: {missing}")
        return EXIT_SKIP
    for kind in arguments.kinds:
        with Linux(arguments, machine(kind)) as vm:
            at = kernel_symbols(vm, NAMES)
            system_call(vm, at)
            print(f"{kind}: a system call of the running kernel: ok", flush=True)
            print(f"{kind}: lldb: {lldb_session(vm, at)}", flush=True)
            # A SEV guest can't be reset, only launched again.
            if kind != "sev":
                vm.qmp.command("stop")
                vm.qmp.command("system_reset")
                from_the_start(vm, at)
            vm.power_off()
        if kind == "sev":
            with Linux(arguments, machine(kind), more=["-S"]) as vm:
                from_the_start(vm, at)
                vm.power_off()
        print(f"{kind}: from the start to the shell: ok", flush=True)
    return 0


try:
    sys.exit(main())
except (VmError, subprocess.TimeoutExpired) as error:
    sys.exit(f"FAILED: {error}")
