# SPDX-License-Identifier: LGPL-2.1-or-later
"""crash.py: dumps of the stock kernel, unprotected and protected, in every format, with
KASLR, opened by crash, drgn and makedumpfile.  Needs these and the kernel with its symbols
(--vmlinux FILE; Debian: linux-image-...-dbg), and does what it can with what there is.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

from debug_vm import expect
from dump import Core
from cloister_vm import Vm, VmError, protected

TIMEOUT = 300
SKIP = 77
CRASH = "sys\nbt 0\nps\nlog\nrd linux_banner 2\nvtop {stext:x}\nquit\n"
DRGN = """
from drgn.helpers.linux.pid import for_each_task
print("release", prog["UTS_RELEASE"].string_().decode())
print("init_task", prog["init_task"].comm.string_().decode())
print("tasks", sum(1 for task in for_each_task(prog)))
print("kthreadd", any(task.comm.string_() == b"kthreadd" for task in for_each_task(prog)))
"""


def run(command, text=None, stdin=None):
    done = subprocess.run(command, input=text, stdin=stdin, capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    return done.returncode, done.stdout + done.stderr


def kernel_text(core):
    """Virtual and physical address of _stext, as VMCOREINFO has them."""
    text = core.note("VMCOREINFO", 0)[0].decode()
    stext = int(re.search(r"^SYMBOL\(_stext\)=(.*)$", text, re.MULTILINE)[1], 16)
    base = int(re.search(r"^NUMBER\(phys_base\)=(.*)$", text, re.MULTILINE)[1])
    return stext, stext - 0xffffffff80000000 + base


def check_crash(path, vmlinux, release, folder, where):
    commands = os.path.join(folder, "commands")
    with open(commands, "w", encoding="ascii") as file:
        file.write(CRASH.format(stext=where[0]))
    status, text = run(["crash", "-s", "-i", commands, vmlinux, path], stdin=subprocess.DEVNULL)
    expect(status == 0, f"crash: {text}")
    for words in (f"RELEASE: {release}", "CPUS: 2", "__schedule at", "start_kernel at",
                  "[swapper/0]", "Run /init as init process", "Linux version "):
        expect(words in text, f"{words} in crash's output: {text[-3000:]}")
    physical = re.search(r"^VIRTUAL +PHYSICAL *\n([0-9a-f]+) +([0-9a-f]+)", text, re.MULTILINE)
    expect(physical and (int(physical[1], 16), int(physical[2], 16)) == where,
           f"vtop {where}: {text[-2000:]}")


def check_drgn(path, vmlinux, release, folder):
    script = os.path.join(folder, "script.py")
    with open(script, "w", encoding="ascii") as file:
        file.write(DRGN)
    status, text = run(["drgn", "-q", "-c", path, "-s", vmlinux, script])
    expect(status == 0 and f"release {release}\ninit_task swapper/0\n" in text and
           "kthreadd True" in text, f"drgn: {text}")
    expect(int(re.search(r"^tasks (\d+)", text, re.MULTILINE)[1]) > 10, f"drgn: {text}")


def check_makedumpfile(path, folder, flat):
    log = os.path.join(folder, "log")
    if flat:
        with open(path, "rb") as file:
            status, text = run(["makedumpfile", "-R", path + ".file"], stdin=file)
        expect(status == 0, f"makedumpfile -R: {text}")
        path += ".file"
    status, text = run(["makedumpfile", "-f", "--dump-dmesg", path, log])
    expect(status == 0, f"makedumpfile: {text}")
    with open(log, encoding="utf-8", errors="replace") as file:
        expect("Run /init as init process" in file.read(), "the kernel's log by makedumpfile")


def arguments(options, regime):
    args = ["-accel", "soft", "-machine", "q35", "-m", "256M", "-device", "vmcoreinfo"]
    if regime == "sev":
        args = ["-accel", "soft", "-m", "256M", "-machine",
                "q35,kvm-type=sev,confidential-guest-support=sev0,debug=d0", "-object",
                "sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x0", "-object",
                "sev-guest-debug,id=d0"]
    elif regime != "default":
        args = ["-accel", "soft"] + protected(regime, "256M")
        args[args.index("-machine") + 1] += ",debug=d0"
        args += ["-object", "sw-protected-vm-debug,id=d0,allow=read"]
    return args + ["-smp", "2", "-kernel", f"{options.files}/vmlinuz", "-initrd",
                   f"{options.files}/initrd.gz", "-append", "console=ttyS0"]


def check_guest(options, regime, tools, vmlinux):
    with Vm(options.binary, arguments(options, regime)) as vm:
        vm.wait_for("guest# ", TIMEOUT)
        # crash 8.0.2 can't follow the stack of a task that runs, and follows the idle ones'.
        vm.type("modules; for n in 1 2; do (while :; do :; done) & done; cat /proc/sys/kernel/osrelease; echo do''ne\n")
        release = vm.wait_for(r"^(\S+)\n(?:.*\n)*done", TIMEOUT)[1]
        vm.qmp.command("stop")
        vm.qmp.sock.settimeout(TIMEOUT)
        for name, form, more in (("elf", "elf", {}), ("paging", "elf", {"paging": True}),
                                 ("flat", "kdump-zlib", {}), ("raw", "kdump-raw-zlib", {})):
            path = os.path.join(vm.folder, name)
            vm.qmp.command("dump-guest-memory", **{
                "paging": False, "protocol": f"file:{path}", "format": form,
                "x-vmcoreinfo": "search", **more})
            if name == "elf":
                where = kernel_text(Core(path))
            if "crash" in tools:
                check_crash(path, vmlinux, release, vm.folder, where)
            # What drgn 0.0.22 and makedumpfile open of these: docs/debugging.md.
            if "drgn" in tools and name in ("paging", "raw"):
                check_drgn(path, vmlinux, release, vm.folder)
            if "makedumpfile" in tools and name != "paging":
                check_makedumpfile(path, vm.folder, name == "flat")
            print(f"ok {regime} {name}: {', '.join(tools)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--files", required=True)
    parser.add_argument("--vmlinux", help="the guest's kernel with its symbols")
    parser.add_argument("--regimes", default="default,private,guest-memfd,sev")
    options = parser.parse_args()
    vmlinux = options.vmlinux or next(iter(sorted(glob.glob("/usr/lib/debug/boot/vmlinux-*"))), None)
    tools = [name for name in ("crash", "drgn", "makedumpfile") if shutil.which(name)]
    lacking = [name for name in ("crash", "drgn", "makedumpfile") if name not in tools]
    if not vmlinux:
        lacking.append("a vmlinux with symbols (--vmlinux)")
        tools = [name for name in tools if name == "makedumpfile"]
    if lacking:
        print(f"skipped: {', '.join(lacking)}: not there")
    if not tools:
        return SKIP
    for regime in options.regimes.split(","):
        try:
            check_guest(options, regime, tools, vmlinux)
        except (AssertionError, VmError) as error:
            print(f"not ok {regime}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
