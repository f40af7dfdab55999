# SPDX-License-Identifier: LGPL-2.1-or-later
"""What encryption costs a stock kernel: the same kernel and initrd as an ordinary guest and as
a SEV guest, in turn, with nothing to share but the console's and KVM's own pages.

Processor time of the whole process, which other programs' load doesn't change: to the
prompt, and for some work in the guest.
"""
import argparse
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from cloister_vm import Vm  # noqa: E402

SEV = ["-object", "sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1",
       "-machine", "q35,confidential-guest-support=sev0"]
# Linux mends other faults in AMD's processors than in Intel's, which a plain guest sees.
APPEND = "console=ttyS0 mitigations=off"
WORK = "seq 1 60000 | sort -r | gzip | gunzip | sha256sum; ls -R / > /list; wc -l < /list"


def cpu_seconds(vm):
    with open(f"/proc/{vm.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(build, arguments):
    """Seconds to the prompt, and of the work."""
    with Vm(f"{build}/cloister", ["-accel", "soft", "-m", "256M", *arguments,
                                  "-kernel", f"{build}/guest/vmlinuz",
                                  "-initrd", f"{build}/guest/initrd.gz", "-append", APPEND]) as vm:
        vm.wait_for(r"guest# ", 600)
        boot = cpu_seconds(vm)
        vm.type(f"{WORK}; echo end-of-work\n")
        vm.wait_for(r"^end-of-work", 600)
        return boot, cpu_seconds(vm) - boot


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    pairs = [(run(arguments.build, []), run(arguments.build, SEV))
             for _ in range(arguments.runs)]
    for n, what in enumerate(("boot to the prompt", "work in the guest")):
        plain = statistics.median(p[n] for p, _ in pairs)
        sev = statistics.median(s[n] for _, s in pairs)
        ratio = statistics.median(s[n] / p[n] for p, s in pairs)
        print(f"{what}, median of {len(pairs)}: plain {plain:.2f} s, SEV {sev:.2f} s, "
              f"ratio {ratio:.2f} (target: at most 1.10)")


main()
