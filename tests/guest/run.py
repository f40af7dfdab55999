# SPDX-License-Identifier: LGPL-2.1-or-later
"""run.py [SECTION...]: run bare-metal guests as guests.cfg says, compare what they print.

Exit status 0: all as expected; 1: not; 77: nothing could run, and why is printed.
"""
import argparse
import configparser
import contextlib
import fcntl
import os
import re
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import BACKENDS, Vm, VmError, hot_memory, protected     # noqa: E402

BAD = re.compile(r"^(.*: FAILED|FAIL|unexpected .*)$", re.MULTILINE)
KEY = "waiting for a key"
DEFAULT_REGIMES = " ".join(BACKENDS) + " vm2 default"
# What the memory device's memory is like, where the regime isn't the backend's name.
HOT_BACKENDS = {"vm2": "private", "default": None, "kernel": "guest-memfd"}
EXIT_SKIP = 77
KVM_CHECK_EXTENSION = 0xae03
KVM_CAP_GUEST_MEMFD_FLAGS = 244
IN_PLACE_FLAGS = 3              # MMAP, INIT_SHARED


def machine(regime, memory):
    """cloister's arguments for that kind of VM."""
    if regime in BACKENDS:
        return ["-accel", "soft"] + protected(regime, memory)
    if regime == "vm2":
        return ["-accel", "soft,memory-attributes=vm2"] + protected("private", memory)
    if regime == "default":
        return ["-accel", "soft", "-machine", "q35,kvm-type=default", "-m", memory]
    if regime == "kernel":
        return ["-accel", "kvm", "-machine", "q35,kvm-type=default,memory-backend=mem0", "-m",
                memory, "-object", f"memory-backend-guest-memfd,id=mem0,size={memory}"]
    raise SystemExit(f"guests.cfg: no regime '{regime}'")


def lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def mismatch(console, expected):
    """What of the expected lines is missing; None when all came, in order."""
    bad = BAD.search(console)
    if bad:
        return f"the guest says '{bad.group()}'"
    printed = iter(console.splitlines())
    for pattern in expected:
        if not any(re.fullmatch(pattern, line) for line in printed):
            return f"no line '{pattern}' (in that place)"
    return None


class Disk:
    """An image file for the guest, and the arguments that give it to it."""

    def __init__(self, path):
        self.path = path
        self.arguments = ["-drive", f"file={path},format=raw,if=virtio"] if path else []

    def mismatch(self, section):
        if "holds" not in section:
            return None
        expected = section["holds"].encode()
        with open(self.path, "rb") as file:
            file.seek(512)
            found = file.read(len(expected))
        return None if found == expected else f"the disk holds {found}, not {expected}"


@contextlib.contextmanager
def disk_image(section):
    if "disk" not in section:
        yield Disk(None)
        return
    with tempfile.NamedTemporaryFile(prefix="cloister-", suffix=".img") as file:
        file.truncate(section.getint("disk"))
        yield Disk(file.name)


def press_keys(vm, timeout, seconds):
    """Until the guest ends: a key for each time that it asks, seconds later."""
    seen = 0
    while True:
        match = vm.wait_for(rf"^{KEY}$|^PASS$|^FAIL$", timeout, seen)
        if match.group() != KEY:
            return
        seen = match.end()
        time.sleep(seconds)
        vm.type("\n")


def run(arguments, section, regime):
    """None, or what is wrong."""
    image = os.path.join(arguments.guests, section.get("image", section.name) + ".elf")
    timeout = section.getint("timeout", 60) * arguments.slower
    command = machine(regime, section.get("memory", "64M")) + [
        "-smp", section.get("smp", "1"), "-kernel", image, "-no-reboot"]
    if "object" in section:
        command += ["-object", section["object"]]
    if "plugs" in section:
        command += hot_memory(HOT_BACKENDS.get(regime, regime), section["plugs"])
    if "append" in section:
        command += ["-append", section["append"]]
    with disk_image(section) as disk, Vm(arguments.binary, command + disk.arguments,
                                         qmp=False) as vm:
        if arguments.verbose:
            print(" ".join(vm.command))
        try:
            if section.getboolean("keys", False):
                seconds = section.getint("seconds", 0)
                press_keys(vm, timeout, arguments.seconds if seconds and arguments.seconds
                           else seconds)
            status = vm.wait_end(timeout)
        except VmError as error:
            return str(error)
        if arguments.verbose:
            print(vm.console)
        wrong = mismatch(vm.console, lines(section.get(f"expect.{regime}", section["expect"])))
        if not wrong and status != section.getint("status", 0):
            wrong = f"cloister's exit status is {status}"
        wrong = wrong or disk.mismatch(section)
        return f"{wrong}\n--- console\n{vm.console}--- stderr\n{vm.errors()}" if wrong else None


def skip_reason(regime):
    """Why the system's KVM can't give that kind of VM; None if it can."""
    if regime != "kernel":
        return None
    try:
        with open("/dev/kvm", "rb", buffering=0) as kvm:
            flags = fcntl.ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS)
    except OSError as error:
        return f"lacks /dev/kvm: {error.strerror}"
    if flags & IN_PLACE_FLAGS != IN_PLACE_FLAGS:
        return f"/dev/kvm lacks in-place guest_memfd: KVM_CAP_GUEST_MEMFD_FLAGS is {flags}"
    return None


def run_section(arguments, section):
    """Results of its regimes: 'ok', 'FAILED', 'skipped'."""
    results = []
    for regime in section.get("regimes", DEFAULT_REGIMES).split():
        if arguments.regime and regime not in arguments.regime:
            continue
        start = time.monotonic()
        skip = skip_reason(regime)
        wrong = None if skip else run(arguments, section, regime)
        if wrong and regime == "kernel":
            # The host's KVM may be nested or paravirtual itself: one in hundreds of runs
            # saw its TSC-deadline timer wrong. A fault of ours fails twice.
            print(f"{section.name} {regime}: FAILED, once more\n{wrong}", flush=True)
            wrong = run(arguments, section, regime)
        result = "skipped" if skip else "FAILED" if wrong else "ok"
        print(f"{section.name} {regime}: {result} ({time.monotonic() - start:.1f} s)", flush=True)
        if skip or wrong:
            print(skip or wrong, flush=True)
        results.append(result)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", help="default: all of guests.cfg")
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    parser.add_argument("--regime", action="append", help="only this one (may be repeated)")
    parser.add_argument("--slower", type=int, default=int(os.environ.get("TEST_SLOWER", "1")),
                        help="multiply the time limits")
    parser.add_argument("--seconds", type=int, help="instead of guests.cfg's")
    parser.add_argument("--verbose", "-v", action="store_true")
    arguments = parser.parse_args()
    config = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",),
                                       delimiters=("=",))
    config.read(os.path.join(HERE, "guests.cfg"), encoding="utf-8")
    unknown = [name for name in arguments.sections if name not in config]
    if unknown:
        parser.error(f"guests.cfg has no [{unknown[0]}]")
    results = []
    for name in arguments.sections or config.sections():
        results += run_section(arguments, config[name])
    if "FAILED" in results:
        return 1
    return 0 if "ok" in results else EXIT_SKIP


sys.exit(main())
