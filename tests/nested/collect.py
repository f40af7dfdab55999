# SPDX-License-Identifier: LGPL-2.1-or-later
"""collect.py KVM...: what programs and guests of ours do on each KVM, one JSON line each.

KVM is a row of KVMS below.  A line is {"kvm":, "kind":, "name":, "result":}: result is
"ok", "skipped" or "FAILED" for a case of tests/kvm, {"console":, "maps":} for a guest.
Run inside the nested host and outside of it; run.py compares.
"""
import argparse
import configparser
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError, hot_memory, protected        # noqa: E402

# As: option of the tests/kvm programs, cloister's -accel, spelling of private memory.
KVMS = {
    "kernel": ("--kernel", "kvm", "private"),
    "vm": ("--softkvm", "soft,memory-attributes=vm", "private"),
    "vm2": ("--vm2", "soft,memory-attributes=vm2", "private"),
    "guest-memfd": ("--in-place", "soft,memory-attributes=guest-memfd", "guest-memfd"),
}
GUEST_SECONDS = 180     # a private 6 GiB takes the nested host a while on a busy machine
LINUX_SECONDS = 240
PROGRAM_SECONDS = 300
KEY = "waiting for a key"
DEVICE_CASES = ("disk", "hotplug", "memory", "serial")      # of tests/machine/devices.py
EXIT_SKIP = 77


def report(kvm, kind, name, result):
    print(json.dumps({"kvm": kvm, "kind": kind, "name": name, "result": result}), flush=True)


def tap_cases(text):
    """(name, result) of each case."""
    for match in re.finditer(r"^(not )?ok \d+ - (.*?)( # SKIP)?$", text, re.MULTILINE):
        yield match[2], "FAILED" if match[1] else "skipped" if match[3] else "ok"


def collect_programs(arguments, kvm):
    for program in sorted(glob.glob(os.path.join(arguments.build, "tests", "kvm", "test_kvm_*"))):
        name = os.path.basename(program).removeprefix("test_kvm_")
        if "." in name:
            continue
        try:
            done = subprocess.run([program, KVMS[kvm][0]], capture_output=True, text=True,
                                  timeout=PROGRAM_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            report(kvm, "program", f"{name}: the program itself",
                   f"no end after {PROGRAM_SECONDS} s")
            continue
        for case, result in tap_cases(done.stdout):
            report(kvm, "program", f"{name}: {case}", result)
        if done.returncode not in (0, 1, 77):
            report(kvm, "program", f"{name}: the program itself", f"status {done.returncode}")
        sys.stderr.write("".join(line + "\n" for line in done.stdout.splitlines()
                                 if line.startswith(("#", "not ok"))))


def attribute_map(vm):
    """The monitors' answers, QMP's and a person's."""
    return [vm.qmp.command("x-query-ramblock-attributes"), vm.qmp.hmp("info ramblock-attributes")]


def run_guest(arguments, command, seconds):
    """Console and maps: at each key that the guest waits for, and when it is off.

    seconds: how long to leave a guest to its work before the key; it has no certain map then.
    """
    maps, seen = [], 0
    with Vm(os.path.join(arguments.build, "cloister"), command) as vm:
        try:
            while True:
                match = vm.wait_for(rf"^(?:{KEY}|PASS|FAIL|before the reset)$", GUEST_SECONDS,
                                    seen)
                if not seconds or match.group() != KEY:
                    maps.append(attribute_map(vm))
                if match.group() != KEY:
                    vm.qmp.command("quit")
                    break
                seen = match.end()
                time.sleep(seconds)
                vm.type("\n")
            vm.wait_end(GUEST_SECONDS)
        except VmError as error:
            return {"console": vm.console, "maps": maps, "error": f"{error}\n{vm.errors()}"}
        return {"console": vm.console, "maps": maps}


def guest_sections(arguments):
    config = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",),
                                       delimiters=("=",))
    config.read(os.path.join(HERE, "..", "guest", "guests.cfg"), encoding="utf-8")
    for name in arguments.guest or config.sections():
        yield config[name]


def guest_command(arguments, section, machine, backend):
    image = os.path.join(arguments.build, "guests", section.get("image", section.name) + ".elf")
    return machine + ["-smp", section.get("smp", "1"), "-kernel", image, "-no-shutdown",
                      *(["-no-reboot"] if section.name == "reset" else []),
                      *(hot_memory(backend, section["plugs"]) if "plugs" in section else []),
                      "-append", section.get("append", "")]


def machine_arguments(kvm, kind, memory):
    accel = ["-accel", KVMS[kvm][1]]
    if kind == "protected":
        return accel + protected(KVMS[kvm][2], memory)
    return accel + ["-machine", "q35,kvm-type=default", "-m", memory]


def run_section(arguments, section, machine, backend, seconds):
    """Of a guest, with the disk that it wants."""
    command = guest_command(arguments, section, machine, backend)
    with tempfile.NamedTemporaryFile(prefix="cloister-", suffix=".img") as disk:
        if "disk" in section:
            disk.truncate(section.getint("disk"))
            command += ["-drive", f"file={disk.name},format=raw,if=virtio"]
        return run_guest(arguments, command, seconds)


def collect_guests(arguments, kvm):
    for section in guest_sections(arguments):
        seconds = section.getint("seconds", 0)
        regimes = section.get("regimes", "private guest-memfd default").split()
        for kind, regime in (("default", "default"), ("protected", KVMS[kvm][2])):
            result = "skipped"
            if regime in regimes:
                machine = machine_arguments(kvm, kind, section.get("memory", "64M"))
                backend = KVMS[kvm][2] if kind == "protected" else None
                result = run_section(arguments, section, machine, backend, seconds)
                if kvm == "kernel" and "error" in result:   # as in collect_linux()
                    result = run_section(arguments, section, machine, backend, seconds)
            report(kvm, f"{kind} VM", section.name, result)


def boot_linux(arguments, kvm):
    files = os.path.join(arguments.build, "guest")
    command = machine_arguments(kvm, "default", "512M") + [
        "-kernel", os.path.join(files, "vmlinuz"), "-initrd", os.path.join(files, "initrd.gz"),
        "-append", "console=ttyS0 panic=-1 quiet run=poweroff,-f"]
    with Vm(os.path.join(arguments.build, "cloister"), command, qmp=False) as vm:
        try:
            vm.wait_for(r"^cloister-init: .*\n", LINUX_SECONDS)
            status = vm.wait_end(LINUX_SECONDS)
            return "ok" if status == 0 else f"status {status}: {vm.errors()}"
        except VmError as error:
            return f"{error}\n{vm.errors()}"


def collect_linux(arguments, kvm):
    """Once more after a failure: now and then a guest stands still on the emulated processor."""
    start = time.monotonic()
    result = boot_linux(arguments, kvm)
    if result != "ok":
        sys.stderr.write(f"Linux on {kvm}, once more after: {result}\n")
        result = boot_linux(arguments, kvm)
    sys.stderr.write(f"Linux on {kvm}: {time.monotonic() - start:.1f} s\n")
    report(kvm, "default VM", "Linux, to its init and off", result)


def collect_devices(arguments, kvm):
    """The kernel's own drivers with virtio disks, ports, hot-plug and virtio-mem."""
    program = os.path.join(HERE, "..", "machine", "devices.py")
    for case in DEVICE_CASES:
        command = [sys.executable, program, "--binary", os.path.join(arguments.build, "cloister"),
                   "--files", os.path.join(arguments.build, "guest"), "--accel", KVMS[kvm][1], case]
        for _ in range(2):      # as in collect_linux()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 1:
                break
            sys.stderr.write(f"{case} on {kvm}: {done.stdout}\n")
        result = {0: "ok", EXIT_SKIP: "skipped"}.get(done.returncode, done.stdout + done.stderr)
        report(kvm, "Linux's drivers", case, result)


PARTS = {"programs": collect_programs, "guests": collect_guests, "linux": collect_linux,
         "devices": collect_devices}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kvms", nargs="+", choices=KVMS)
    parser.add_argument("--build", default="build")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--guest", action="append", help="a section of guests.cfg; default: all")
    arguments = parser.parse_args()
    for kvm in arguments.kvms:
        for part in arguments.part or PARTS:
            PARTS[part](arguments, kvm)


if __name__ == "__main__":
    main()
