# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time to /init of the same kernel, initrd and memory: cloister in a protected VM on
softkvm, and qemu-system-x86_64 -accel tcg, in turn.  Then what a booted guest costs
beside its own pages.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from cloister_vm import Vm, protected  # noqa: E402

MARK = b"Run /init as init process"
APPEND = "console=ttyS0 run=poweroff"


def seconds_to_init(command):
    """Wall seconds from start to MARK on the console, and to the process's end."""
    start = time.monotonic()
    seen = b""
    to_init = None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        while True:
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                break
            seen += data
            if to_init is None and MARK in seen:
                to_init = time.monotonic() - start
    if to_init is None:
        sys.exit(f"bench/boot: no /init with {' '.join(command)}:\n"
                 + seen[-1500:].decode("utf-8", "replace"))
    return to_init


def commands(build, smp):
    files = ["-kernel", f"{build}/guest/vmlinuz", "-initrd", f"{build}/guest/initrd.gz",
             "-append", APPEND, "-smp", str(smp)]
    ours = [f"{build}/cloister", "-accel", "soft", *protected("guest-memfd", "512M"),
            *files, "-display", "none", "-serial", "stdio"]
    peer = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "512M", *files,
            "-display", "none", "-serial", "stdio", "-no-reboot", "-net", "none"]
    return ours, peer


def boot(build, runs, smp):
    ours, peer = commands(build, smp)
    if not shutil.which(peer[0]):
        sys.exit("bench/boot: needs qemu-system-x86 as the peer: tools/deps.sh bench")
    pairs = []
    for _ in range(runs):
        pairs.append((seconds_to_init(ours), seconds_to_init(peer)))
    a = statistics.median(p[0] for p in pairs)
    b = statistics.median(p[1] for p in pairs)
    ratio = statistics.median(p[0] / p[1] for p in pairs)
    print(f"boot to /init, {smp} CPU(s), median of {runs}: cloister {a:.2f} s, "
          f"qemu tcg {b:.2f} s, ratio {ratio:.2f} (target: at most 4)")


def status_kib(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def memory_cost(build):
    arguments = protected("guest-memfd", "512M") + [
        "-accel", "soft", "-kernel", f"{build}/guest/vmlinuz", "-initrd",
        f"{build}/guest/initrd.gz", "-append", "console=ttyS0"]
    with Vm(f"{build}/cloister", arguments) as vm:
        vm.wait_for(r"guest# ", 300)
        pid = vm.process.pid
        # Guest pages are the guest_memfd's, which the kernel accounts as shared memory.
        own = status_kib(pid, "RssAnon") + status_kib(pid, "RssFile")
        guest = status_kib(pid, "RssShmem")
        print(f"memory of a booted 512 MiB guest: {own / 1024:.1f} MiB beside "
              f"{guest / 1024:.1f} MiB of guest pages (target: under 64 MiB)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    for smp in (1, 2):
        boot(arguments.build, arguments.runs, smp)
    memory_cost(arguments.build)


main()
