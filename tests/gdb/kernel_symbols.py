# SPDX-License-Identifier: LGPL-2.1-or-later
"""kernel_symbols.py --binary CLOISTER --files FOLDER KIND...: gdb with the kernel's symbols.

The symbols are Debian's linux-image-...-dbg of just the kernel in FOLDER, installed, or a
vmlinux that --vmlinux or the environment's VMLINUX names; status 77 without.
KIND: default, private, guest-memfd, sev.
"""
import argparse
import os
import subprocess
import sys

from stock_kernel import (EXIT_SKIP, PROMPT, TIMEOUT, Linux, VmError, finish, gdb, machine,
                          missing_parts)

COMMANDS = [
    "hbreak start_kernel", "continue", "backtrace", "print init_task.comm",
    "delete", "break rest_init", "continue", "backtrace", "print init_task.comm",
    "print system_state", "watch system_state", "continue", "backtrace 2",
    "delete", "break do_sys_openat2", "continue", "info symbol $pc",
    "print filename != 0", "finish", "step", "next",
    "print ((struct task_struct *)init_task.tasks.next)->pid != -1",
    "delete", "break __do_sys_newuname", "continue",
    'set var init_uts_ns.name.sysname = "Symbol"', "print init_uts_ns.name.sysname",
    "ptype struct list_head", "info threads", "delete", "detach",
]
EXPECTED = (
    r"^Breakpoint 1, start_kernel \(\) at init/main\.c", r"^#0  start_kernel \(\)",
    r"^#1  0x[0-9a-f]+ in secondary_startup_64", r'^\$1 = "swapper',
    r"^Breakpoint 2, rest_init \(\)", r"^#0  rest_init \(\)", r"^#1  0x[0-9a-f]+ in arch_call_rest_init",
    r"^#2  0x[0-9a-f]+ in start_kernel", r'^\$2 = "swapper/0', r"^\$3 = SYSTEM_BOOTING",
    r"^Hardware watchpoint 3: system_state", r"^Old value = SYSTEM_BOOTING",
    r"^New value = SYSTEM_SCHEDULING", r"^#1  0x",
    r"^Breakpoint 4, do_sys_openat2 \(", r"^do_sys_openat2 in section \.text", r"^\$4 = 1",
    r"^Value returned is \$5 = ", r"^\$6 = 1",
    r"^Breakpoint 5, __do_sys_newuname \(", r'^\$7 = "Symbol"', r"struct list_head \*next",
    r"Thread 1\.1 \(CPU#0", r"detached",
)


def find_symbols(arguments):
    """vmlinux of the kernel that is booted, or why there is none."""
    with open(os.path.join(arguments.files, "vmlinuz"), "rb") as file:
        setup = file.read(0x10000)
    start = int.from_bytes(setup[0x20e:0x210], "little") + 0x200
    release = setup[start:setup.index(b"\0", start)].split()[0].decode()
    path = arguments.vmlinux or f"/usr/lib/debug/boot/vmlinux-{release}"
    if os.path.exists(path):
        return path, None
    return None, f"no {path}: apt-get install linux-image-{release}-dbg"


def session(arguments, kind, vmlinux):
    with Linux(arguments, machine(kind), more=["-S"]) as vm:
        debugger = gdb(vm.stub, COMMANDS, vmlinux)
        # Read as it comes, so that nobody waits for a pipe.
        vm.wait_for(PROMPT, TIMEOUT)
        vm.type("uname -s\n")
        finish(debugger, EXPECTED)
        vm.wait_for(r"^Symbol$", TIMEOUT)
        vm.power_off()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--accel", default="soft")
    parser.add_argument("--files", default="build/guest")
    parser.add_argument("--vmlinux", default=os.environ.get("VMLINUX"))
    parser.add_argument("kinds", nargs="+", metavar="KIND")
    arguments = parser.parse_args()
    missing = missing_parts(arguments.files)
    vmlinux = None
    if not missing:
        vmlinux, missing = find_symbols(arguments)
    if missing:
        print(f"skipped: {missing}")
        return EXIT_SKIP
    for kind in arguments.kinds:
        session(arguments, kind, vmlinux)
        print(f"{kind}: ok", flush=True)
    return 0


try:
    sys.exit(main())
except (VmError, subprocess.TimeoutExpired) as error:
    sys.exit(f"FAILED: {error}")
