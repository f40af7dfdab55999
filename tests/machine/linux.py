# SPDX-License-Identifier: LGPL-2.1-or-later
"""linux.py --binary CLOISTER --files FOLDER CASE...: a stock kernel in a protected VM.

FOLDER has vmlinuz and initrd.gz (make guest-files); status 77 where it hasn't.
"""
import argparse
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import BACKENDS, Vm, VmError, protected        # noqa: E402

EXIT_SKIP = 77
BOOT_TIMEOUT = 240 * int(os.environ.get("TEST_SLOWER", "1"))
PROMPT = r"^guest# "


class Linux(Vm):
    """The demo's guest; command: what its init runs before it powers off (no blanks)."""

    def __init__(self, setting, *arguments, backend="guest-memfd", command=None, smp=1):
        append = "console=ttyS0 panic=-1" + (f" run={command}" if command else "")
        super().__init__(setting.binary, [
            "-accel", "soft", *protected(backend, "512M"), "-smp", str(smp),
            "-kernel", os.path.join(setting.files, "vmlinuz"),
            "-initrd", os.path.join(setting.files, "initrd.gz"),
            "-append", append, *arguments])

    def boot(self, start=0):
        """Up to init's own line; where that line ends."""
        return self.wait_for(r"^cloister-init: .*\n", BOOT_TIMEOUT, start)

    def ends_well(self):
        status = self.wait_end(BOOT_TIMEOUT)
        if status != 0:
            raise VmError(f"cloister ended with status {status}:\n{self.console[-2000:]}\n"
                          f"{self.errors()}")


def poweroff(setting):
    """ACPI S5 from each of the three spellings, with 1, 2 and 4 vCPUs."""
    for backend, smp in zip(BACKENDS, (1, 2, 4)):
        boot_once(setting, backend, smp)


def boot_once(setting, backend, smp):
    """Seconds to init's line."""
    start = time.monotonic()
    with Linux(setting, backend=backend, command="poweroff,-f", smp=smp) as vm:
        line = vm.boot().group()
        seconds = time.monotonic() - start
        if f"{smp} CPU(s)" not in line:
            raise VmError(f"not {smp} CPUs: {line}")
        vm.ends_well()
    return seconds


def every_way(setting):
    """Each spelling with each number of vCPUs, then 20 boots in a row: make boots."""
    for backend in BACKENDS:
        for smp in (1, 2, 4):
            print(f"{backend}, {smp} vCPU(s): {boot_once(setting, backend, smp):.1f} s", flush=True)
    for n in range(20):
        backend, smp = BACKENDS[n % 3], (1, 2, 4)[n // 3 % 3]
        print(f"boot {n + 1} of 20: {boot_once(setting, backend, smp):.1f} s", flush=True)


def reboot(setting):
    """The guest reboots itself twice, then is ended from outside."""
    with Linux(setting, command="reboot,-f") as vm:
        seen = 0
        for _ in range(3):
            seen = vm.boot(seen).end()
        vm.qmp.command("quit")
        vm.ends_well()


def no_reboot(setting):
    with Linux(setting, "-no-reboot", command="reboot,-f") as vm:
        vm.ends_well()
        if vm.console.count("cloister-init: ") != 1:
            raise VmError("it booted more than once")


def shell(setting):
    """Typing and reading at length: the serial port loses nothing in either direction."""
    with Linux(setting) as vm:
        vm.wait_for(PROMPT, BOOT_TIMEOUT)
        start = len(vm.console)
        vm.type("echo $((6 * 7)) is the answer\n")
        vm.wait_for(r"^42 is the answer$", BOOT_TIMEOUT, start)
        start = len(vm.console)
        vm.type("seq 1 3000\n")
        end = vm.wait_for(r"^3000\n", BOOT_TIMEOUT, start).end()
        numbers = [int(line) for line in vm.console[start:end].splitlines() if line.isdigit()]
        if numbers != list(range(1, 3001)):
            raise VmError("lines are missing or mixed up")
        start = len(vm.console)
        text = "".join(chr(ord("a") + i % 26) for i in range(600))
        vm.type(f"echo {text} | wc -c\n")
        vm.wait_for(r"^601$", BOOT_TIMEOUT, start)
        vm.type("poweroff -f\n")
        vm.ends_well()


def system_reset(setting):
    """From outside, in the middle of a boot and at the prompt."""
    with Linux(setting, smp=2) as vm:
        vm.wait_for(r"Linux version", BOOT_TIMEOUT)
        vm.qmp.command("system_reset")
        seen = vm.boot().end()
        vm.wait_for(PROMPT, BOOT_TIMEOUT, seen)
        vm.qmp.command("system_reset")
        vm.boot(seen)
        vm.wait_for(PROMPT, BOOT_TIMEOUT, seen + 10)
        vm.type("poweroff -f\n")
        vm.ends_well()


CASES = {
    "poweroff": poweroff, "every-way": every_way, "reboot": reboot, "no-reboot": no_reboot,
    "shell": shell, "system-reset": system_reset,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--files", default="build/guest")
    parser.add_argument("cases", nargs="+", choices=CASES)
    arguments = parser.parse_args()
    for name in ("vmlinuz", "initrd.gz"):
        path = os.path.join(arguments.files, name)
        if not os.path.exists(path):
            print(f"skipped: no {path}: make guest-files")
            return EXIT_SKIP
    for name in arguments.cases:
        try:
            CASES[name](arguments)
            print(f"{name}: ok")
        except VmError as error:
            print(f"{name}: FAILED: {error}")
            return 1
    return 0


sys.exit(main())
