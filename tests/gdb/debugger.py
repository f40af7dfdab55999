# SPDX-License-Identifier: LGPL-2.1-or-later
"""debugger.py --binary CLOISTER --guests FOLDER CASE...: real debuggers on guests of ours.

Status 77 where there is no gdb (or, for the case lldb, no lldb).
"""
import argparse
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
ALLOWED = ["-object", "sw-protected-vm-debug,id=d0,allow=read-write"]

COMMANDS = """
hbreak guest_main
continue
break leaf
info breakpoints
continue
backtrace
finish
print counter
stepi
print $pc == $rip
print $cr0 & 1
print $efer & 0x400
print $cs
print $xmm0.uint128
info threads
delete 2
watch counter
continue
print counter
print leaf(5)
set var counter = 100
x/s &text
monitor info status
delete
break finish
continue
print own_int3s
print own_traps
set var text[0] = 'A'
print text
continue
"""
EXPECTED = (
    r"Hardware assisted breakpoint 1 at 0x[0-9a-f]+", r"Breakpoint 1, guest_main \(\)",
    r"Breakpoint 2 at 0x[0-9a-f]+", r"Breakpoint 2, leaf \(n=(n@entry=)?1\)",
    r"#0  leaf \(n=", r"#1  .* in middle \(n=", r"#2  .* in guest_main \(\)",
    r"Value returned is \$1 = 41", r"\$2 = 41", r"\$3 = 1",
    r"\$4 = (1|\[ PE \])", r"\$5 = (1024|\[ LMA \])", r"\$6 = \d+", r"\$7 = \d+",
    r"\* 1 +Thread 1\.1 \(CPU#0 \[running\]\)",
    r"Hardware watchpoint 3: counter", r"Old value = 41", r"New value = 43", r"\$8 = 43",
    r"\$9 = 48", r'"a text to be read"', r"VM status: paused \(debug\)",
    r"Breakpoint 4, finish \(\)", r"\$10 = 3", r"\$11 = 3", r'\$12 = "A text to be read"',
    r"exited normally",
)


def in_order(text, patterns):
    at = 0
    for pattern in patterns:
        match = re.compile(pattern, re.M).search(text, at)
        if not match:
            raise VmError(f"no '{pattern}' (in that place) in:\n{text}")
        at = match.end()


def gdb(elf, stub, commands):
    """What gdb prints while it carries out these commands."""
    setup = ["set pagination off", "set confirm off", "set width 0", "set remotetimeout 60",
             f"target remote {stub}"]
    words = [word for line in setup + commands.strip().splitlines() for word in ("-ex", line)]
    ran = subprocess.run(["gdb", "-nx", "-nh", "-batch", *words, *([elf] if elf else [])],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT, check=False)
    return ran.stdout


class Debugged(Vm):
    def __init__(self, setting, arguments, guest="debug"):
        self.elf = os.path.join(setting.guests, guest + ".elf")
        self.stub_folder = tempfile.TemporaryDirectory(prefix="cloister-gdb-")
        self.stub = os.path.join(self.stub_folder.name, "gdb.sock")
        super().__init__(setting.binary, ["-accel", "soft", "-kernel", self.elf, "-S",
                                          "-gdb", f"unix:{self.stub}", *arguments])
        deadline = time.monotonic() + TIMEOUT
        while not os.path.exists(self.stub) and time.monotonic() < deadline:
            time.sleep(0.02)

    def close(self):
        super().close()
        self.stub_folder.cleanup()


def session(setting, arguments):
    with Debugged(setting, arguments) as vm:
        in_order(gdb(vm.elf, vm.stub, COMMANDS), EXPECTED)
        vm.wait_for(r"^counter 103, sum \d+, a text to be read$", TIMEOUT)
        vm.wait_for(r"^PASS$", TIMEOUT)
        if vm.wait_end(TIMEOUT) != 0:
            raise VmError(vm.errors())


def plain(setting):
    session(setting, ["-m", "64M"])


def allowed(backend):
    arguments = protected(backend, "64M")
    arguments[1] += ",debug=d0"
    return ALLOWED + arguments


def private(setting):
    session(setting, allowed("private"))


def in_place(setting):
    session(setting, allowed("guest-memfd"))


def forbidden(setting):
    """Without a debug object private memory isn't read, and gdb's user learns why."""
    with Debugged(setting, protected("private", "64M")) as vm:
        text = gdb(vm.elf, vm.stub, "print counter\nbreak leaf\ncontinue\ndelete\n"
                   "hbreak guest_main\ncontinue\nprint $pc == guest_main\n"
                   "monitor xp /1xg 0x107000\nkill\n")
        in_order(text, (r"Cannot access memory at address", r"Cannot insert breakpoint 1",
                        r"^cloister: .*debug", r"Breakpoint 2, ", r"\$1 = 1", r"private"))


def lldb(setting):
    """Smoke test: attach, break, read, step, continue."""
    program = next((p for p in ("lldb", "lldb-14") if shutil.which(p)), None)
    if not program:
        return "no lldb"
    with Debugged(setting, ["-m", "64M"]) as vm:
        commands = [f"process connect --plugin gdb-remote unix-connect://{vm.stub}", "breakpoint set -H -n guest_main",
                    "continue", "breakpoint set -n leaf", "continue", "register read rip rsp",
                    "bt", "stepi", "memory read --format hex --size 4 --count 1 &counter",
                    "breakpoint delete -f", "detach"]
        ran = subprocess.run([program, "-b", "-x"] +
                             [word for c in commands for word in ("-o", c)] + [vm.elf],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT, check=False)
        in_order(ran.stdout, (r"stop reason = breakpoint 1\.1", r"stop reason = breakpoint 2\.1",
                              r"rip = 0x", r"frame #1: .*middle", r"0x[0-9a-f]+: 0x00000028"))
        vm.wait_for(r"^PASS$", TIMEOUT)
    return None


CASES = {f.__name__.replace("_", "-"): f for f in (plain, private, in_place, forbidden, lldb)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    parser.add_argument("cases", nargs="+", choices=CASES)
    arguments = parser.parse_args()
    if not shutil.which("gdb"):
        print("skipped: no gdb: apt-get install gdb")
        return EXIT_SKIP
    skipped = False
    for name in arguments.cases:
        reason = CASES[name](arguments)
        print(f"{name}: skipped: {reason}" if reason else f"{name}: ok", flush=True)
        skipped |= bool(reason)
    return EXIT_SKIP if skipped else 0


try:
    sys.exit(main())
except (VmError, subprocess.TimeoutExpired) as error:
    sys.exit(f"FAILED: {error}")
