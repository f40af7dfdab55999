# SPDX-License-Identifier: LGPL-2.1-or-later
"""sev.py --binary CLOISTER --files FOLDER CASE...: a SEV guest looked at, as its policy has it.

FOLDER has vmlinuz and initrd.gz (make guest-files); status 77 where something lacks.
"""
import argparse
import base64
import hashlib
import mmap
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "machine"))

from dump import Core                                   # noqa: E402
from linux_guest import EXIT_SKIP, TIMEOUT, Guest, VmError, expect      # noqa: E402

MEMORY = 256 << 20
PAGE = 4096
SEED = "nobody's but the guest's"
SECRET = hashlib.sha256(SEED.encode() + b"\n").hexdigest().encode()
BANNER = b"Linux version "
NAMES = ("linux_banner", "init_uts_ns", "init_task", "do_syscall_64")


class SevGuest(Guest):
    """A kernel whose addresses are known, and which keeps a secret in its memory."""

    APPEND = "nokaslr"

    def __init__(self, setting, policy, debug=True, more=()):
        options = ["-machine", "q35,kvm-type=sev,confidential-guest-support=sev0"
                   + (",debug=d0" if debug else ""), "-object",
                   f"sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy={policy:#x}"]
        if debug:
            options += ["-object", "sev-guest-debug,id=d0"]
        setting.accel = "soft"
        super().__init__(setting, *options, *more)

    def start(self):
        """Addresses of NAMES, when the shell is there and the secret written."""
        try:
            self.prompt()
        except VmError as error:
            if "userfaultfd" in str(error):
                print(f"skipped: {error}")
                sys.exit(EXIT_SKIP)
            raise
        self.run(f"for i in $(seq 50); do echo \"{SEED}\" | sha256sum; done > /secret")
        text = self.run(f"grep -E ' ({'|'.join(NAMES)})$' /proc/kallsyms")
        return {name: int(at, 16) for at, name in re.findall(r"^(\w+) \w (\w+)$", text, re.M)}

    def bounce_buffer(self):
        found = re.search(r"software IO TLB: mapped \[mem 0x(\w+)-0x(\w+)\]", self.console)
        return int(found.group(1), 16)

    def path(self, name):
        return os.path.join(self.folder, name)

    def error_of(self, command, **arguments):
        reply = self.qmp.execute(command, **arguments)
        expect("error" in reply, f"{command} {arguments}: an error, not {reply}")
        return reply["error"]["desc"]


def contains(path, word):
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(word) >= 0


def read(vm, address, size, **more):
    return base64.b64decode(vm.qmp.command("x-debug-read", address=address, size=size,
                                           **more)["data"])


def gpa_of(vm, gva):
    return int(re.fullmatch(r"gpa: (0x\w+)\n", vm.qmp.hmp(f"gva2gpa {gva:#x}")).group(1), 16)


def run_tool(words, patterns):
    """False: it isn't there."""
    if not shutil.which(words[0]):
        return False
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=TIMEOUT, check=False)
    for pattern in patterns:
        expect(re.search(pattern, done.stdout, re.M),
               f"{words[0]}: no '{pattern}' in:\n{done.stdout}")
    return True


# --- What any policy lets through ---

def check_open(vm):
    """Shared memory and devices, also while the guest runs."""
    shared = vm.bounce_buffer()
    text = vm.qmp.hmp(f"xp/2xg {shared:#x}")
    expect(re.fullmatch(r"\w{16}: 0x\w{16} 0x\w{16}\n", text), f"xp of shared memory: {text}")
    expect("Host virtual address for" in vm.qmp.hmp(f"gpa2hva {shared:#x}"), "gpa2hva")
    expect(vm.qmp.hmp("xp/2xh 0xb0000000").endswith(": 0x8086 0x29c0\n"), "xp of a device")
    vm.qmp.command("pmemsave", val=shared, size=16 * PAGE, filename=vm.path("shared"))
    expect(not contains(vm.path("shared"), SECRET), "the secret in shared memory")
    expect("is private" in vm.qmp.hmp("gpa2hva 0x1000000"), "gpa2hva of private memory")
    piece, = vm.qmp.command("x-gpa-attributes", address=shared, size=PAGE)
    expect(piece["state"] == "shared" and piece["readable"], f"{piece}")


# --- With permission ---

def check_tables(vm, at):
    """Every address is memory that there is, or a device: no C-bit is in it."""
    lines = vm.qmp.hmp("info tlb").splitlines()
    gpas = [int(line.split()[1], 16) for line in lines]
    expect(len(gpas) > 1000, f"info tlb: {lines[:5]}")
    expect(max(gpas) < 1 << 46, f"info tlb: {max(gpas):#x}")
    expect(all("bytes unknown" not in line for line in lines), "info tlb: unreadable tables")
    gpa = gpa_of(vm, at["linux_banner"])
    expect(gpa == at["linux_banner"] - 0xffffffff80000000, f"gva2gpa: {gpa:#x}")
    text = vm.qmp.hmp("info mem")
    expect(re.search(r"^ffffffff81000000-ffffffff81\w{6} \w{16} -r-$", text, re.M),
           f"info mem: {text[-2000:]}")
    return gpa


def check_reads(vm, at, gpa):
    expect(read(vm, gpa, len(BANNER)) == BANNER, "physical")
    expect(read(vm, at["linux_banner"], len(BANNER), space="virtual") == BANNER, "virtual")
    for offset, size in ((1, 1), (5, 40), (15, 2), (PAGE - 7, PAGE + 9), (3, 3 * PAGE)):
        whole = read(vm, gpa, 5 * PAGE)
        expect(read(vm, gpa + offset, size) == whole[offset:offset + size], f"{offset}+{size}")
    expect(vm.qmp.hmp(f"x/5c {at['linux_banner']:#x}").endswith(": 'L' 'i' 'n' 'u' 'x'\n"), "x")
    expect(vm.qmp.hmp(f"xp/5c {gpa:#x}").endswith(": 'L' 'i' 'n' 'u' 'x'\n"), "xp")
    text = vm.qmp.hmp(f"x/3i {at['do_syscall_64']:#x}")
    expect("pushq" in text or "capstone" in text, f"x/i: {text}")
    for command, address in (("memsave", at["linux_banner"]), ("pmemsave", gpa)):
        vm.qmp.command(command, val=address, size=PAGE, filename=vm.path(command))
        expect(contains(vm.path(command), BANNER), command)
    # Not the host's bytes, which are cipher text.
    vm.qmp.command("pmemsave", val=0, size=MEMORY, filename=vm.path("all"))
    expect(contains(vm.path("all"), SECRET), "the secret in pmemsave, which is allowed to see it")


def check_writes(vm, at):
    address = at["init_uts_ns"] + 1
    old = read(vm, address, 4, space="virtual")
    expect(old == b"inux", f"init_uts_ns: {old}")
    desc = vm.error_of("x-debug-write", address=address, space="virtual", data="AAAA")
    expect("can't be written while the guest runs: stop" in desc, desc)
    vm.qmp.command("stop")
    vm.qmp.command("x-debug-write", address=address, space="virtual",
                   data=base64.b64encode(b"arry").decode())
    expect(read(vm, address - 1, 6, space="virtual") == b"Larry\0", "what was written")
    vm.qmp.command("cont")
    expect(vm.run("uname -s") == "Larry\n", "the guest sees what was written")


def check_dump(vm, at, gpa):
    vm.qmp.command("stop")
    for name, paging in (("core", False), ("core-p", True)):
        vm.qmp.command("dump-guest-memory", paging=paging, protocol=f"file:{vm.path(name)}")
    core = Core(vm.path("core"))
    expect(core.physical(gpa, len(BANNER)) == BANNER and core.missing() == [], "the dump")
    expect(SECRET in core.data and sum(load[3] for load in core.loads) == MEMORY, "all RAM")
    rip = vm.qmp.hmp("p/x $rip").strip()
    run_tool(["readelf", "-W", "-l", "-n", vm.path("core")], ["NT_PRSTATUS"])
    run_tool(["gdb", "-nx", "-batch", "-c", vm.path("core"), "-ex", f"x/s {gpa:#x}",
              "-ex", "p/x $rip"], [r'"Linux version', f"= {rip}$"])
    run_tool(["gdb", "-nx", "-batch", "-c", vm.path("core-p"), "-ex",
              f"x/s {at['linux_banner']:#x}"], [r'"Linux version'])
    vm.qmp.command("cont")


def allowed(setting):
    """Policy 0x0: everything, through the firmware."""
    with SevGuest(setting, 0) as vm:
        at = vm.start()
        expect("debugging of private memory is allowed by 'd0': it can be read and changed "
               "(policy=0x0)" in vm.qmp.hmp("info debug") + vm_notice(vm), "the notice")
        info = vm.qmp.command("query-debug")
        expect(info == {"private-memory": True, "object": "d0", "type": "sev-guest-debug",
                        "policy": "policy=0x0", "read": True, "write": True,
                        "while-running": True}, f"query-debug: {info}")
        expect("private memory: read, also while the guest runs, write, while the guest is "
               "stopped\n" in vm.qmp.hmp("info debug"), vm.qmp.hmp("info debug"))
        check_open(vm)
        gpa = check_tables(vm, at)
        check_reads(vm, at, gpa)
        check_writes(vm, at)
        check_dump(vm, at, gpa)
        desc = vm.error_of("object-del", id="d0")
        expect("in use" in desc, desc)
        check_open(vm)
        vm.power_off()


def vm_notice(vm):
    """What cloister has said so far on stderr."""
    os.set_blocking(vm.process.stderr.fileno(), False)
    text = vm.process.stderr.read() or b""
    os.set_blocking(vm.process.stderr.fileno(), True)
    return text.decode()


# --- Without ---

def check_closed(vm, at, words):
    """Each way to private memory is refused by name; nothing stands for what it is."""
    gpa = at["linux_banner"] - 0xffffffff80000000
    path = vm.path("refused")
    for command, arguments in (("x-debug-read", {"address": gpa, "size": 8}),
                               ("x-debug-write", {"address": gpa, "data": "AAAA"}),
                               ("pmemsave", {"val": gpa, "size": 8, "filename": path}),
                               ("memsave", {"val": at["linux_banner"], "size": 8,
                                            "filename": path})):
        desc = vm.error_of(command, **arguments)
        expect(words in desc, f"{command}: {desc}")
        expect(not os.path.exists(path), f"{command} leaves a file")
    for line in (f"xp/xg {gpa:#x}", f"x/xg {at['linux_banner']:#x}", "info tlb", "info mem",
                 f"gva2gpa {at['linux_banner']:#x}", f"x/i {at['do_syscall_64']:#x}"):
        text = vm.qmp.hmp(line)
        expect(words in text and "0x0000" not in text, f"{line}: {text}")
    shared = vm.bounce_buffer()
    desc = vm.error_of("x-debug-read", address=shared - 8, size=2 * PAGE)
    expect(words in desc, f"before the bounce buffer: {desc}")
    expect(vm.qmp.hmp("p/x $cr3").startswith("0x"), "registers aren't encrypted")


def check_closed_dump(vm):
    vm.qmp.command("dump-guest-memory", paging=False, protocol=f"file:{vm.path('core')}")
    core = Core(vm.path("core"))
    missing = sum(size for _, size in core.missing())
    have = sum(load[3] for load in core.loads)
    expect(missing + have == MEMORY and 0 < have < MEMORY // 2, f"{missing} {have}")
    expect(core.physical(vm.bounce_buffer(), PAGE) is not None, "shared memory is in it")
    expect(SECRET not in core.data and BANNER not in core.data, "private memory is not")
    run_tool(["readelf", "-W", "-l", "-n", vm.path("core")], ["NT_PRSTATUS"])


def check_gdb_refused(vm, at, words):
    vm.qmp.hmp(f"gdbserver unix:{vm.path('gdb.sock')}")
    run_tool(["gdb", "-nx", "-nh", "-batch", "-ex", "set architecture i386:x86-64",
              "-ex", f"target remote {vm.path('gdb.sock')}", "-ex", "p/x $cs",
              "-ex", f"x/x {at['linux_banner']:#x}", "-ex", f"hbreak *{at['do_syscall_64']:#x}",
              "-ex", "continue", "-ex", "p/x $rip", "-ex", "delete",
              "-ex", f"monitor xp/x {at['linux_banner'] - 0xffffffff80000000:#x}",
              "-ex", "monitor xp/2xh 0xb0000000", "-ex", "detach"],
             [r"^\$1 = 0x(10|33)$", r"Cannot access memory", f"= {at['do_syscall_64']:#x}$", words,
              "0x8086 0x29c0", "detached"])


def closed(setting, policy, debug, words):
    with SevGuest(setting, policy, debug) as vm:
        at = vm.start()
        check_open(vm)
        check_closed(vm, at, words)
        check_closed_dump(vm)
        vm.qmp.command("stop")
        check_closed(vm, at, words)
        # Read when gdb lets the guest run, so that it has something to stop at.
        vm.type("uname\n")
        check_gdb_refused(vm, at, words)
        expect("debugging of private memory" not in vm_notice(vm), "no notice")
        check_open(vm)
        vm.run("sync")
        vm.power_off()


def forbidden(setting):
    """Policy 0x1, the default: private memory is refused, whatever object there is."""
    closed(setting, 1, True, "may not be ")


def without_object(setting):
    """A policy that allows it isn't enough: somebody has to ask for it."""
    closed(setting, 0, False, "without a debug object: -object sev-guest-debug,id=d0")


CASES = {"allowed": allowed, "forbidden": forbidden, "without-object": without_object}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--files", default="build/guest")
    parser.add_argument("cases", nargs="+", choices=CASES)
    arguments = parser.parse_args()
    for name in ("vmlinuz", "initrd.gz"):
        if not os.path.exists(os.path.join(arguments.files, name)):
            print(f"skipped: no {arguments.files}/{name}: make guest-files")
            return EXIT_SKIP
    for name in arguments.cases:
        CASES[name](arguments)
        print(f"{name}: ok", flush=True)
    return 0


try:
    sys.exit(main())
except (VmError, subprocess.TimeoutExpired) as problem:
    sys.exit(f"FAILED: {problem}")
