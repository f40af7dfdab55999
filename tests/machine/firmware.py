# SPDX-License-Identifier: LGPL-2.1-or-later
"""firmware.py --binary CLOISTER --files FOLDER CASE...: -bios with Debian's SeaBIOS and OVMF.

Status 77 where a package or (for a kernel) FOLDER's vmlinuz and initrd.gz lack.
"""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cases import Skip, need_files, parser_of, run_cases    # noqa: E402
from cloister_vm import Vm, VmError, protected              # noqa: E402

TIMEOUT = 240 * int(os.environ.get("TEST_SLOWER", "1"))
SEABIOS = "/usr/share/seabios/bios-256k.bin"
PRIVATE = ["-M", "q35,kvm-type=sw-protected-vm"]
OVMF = "/usr/share/ovmf/OVMF.fd"
OVMF_CODE, OVMF_VARS = (f"/usr/share/OVMF/OVMF_{part}.fd" for part in ("CODE", "VARS"))


def need(path, package):
    if not os.path.exists(path):
        raise Skip(f"no {path}: install {package}")
    return path


def expect(condition, what):
    if not condition:
        raise VmError(what)


def machine(setting, firmware, *arguments, memory=("-m", "256M")):
    return Vm(setting.binary, ["-accel", "soft", *memory, "-bios", firmware, *arguments])


def kernel(setting):
    need_files(setting, "vmlinuz", "initrd.gz")
    vmlinuz, initrd = (os.path.join(setting.files, name) for name in ("vmlinuz", "initrd.gz"))
    return ["-kernel", vmlinuz, "-initrd", initrd, "-append", "console=ttyS0 panic=-1"]


def boot_sector(text):
    """Prints text on the first serial port, then halts.

    Without interrupts: SeaBIOS writes what it still has for that port from its timer's.
    """
    code = bytes.fromhex("fa fc 31c0 8ed8 be207c baf803"    # cli; cld; ds = 0; si, dx = 0x7c20, 0x3f8
                         "ac 08c0 7403 ee ebf8 fa f4")      # lodsb; al? out; again; cli; hlt
    return code.ljust(0x20, b"\x90") + text + bytes(510 - 0x20 - len(text)) + b"\x55\xaa"


def seabios(setting, folder):
    """It boots a disk's first sector, by virtio; after a reset again; its debug port is heard."""
    disk, debug = os.path.join(folder, "disk"), os.path.join(folder, "debug")
    trace = os.path.join(folder, "trace")
    with open(disk, "wb") as file:
        file.write(boot_sector(b"sector runs\r\n") + bytes(1 << 20))
    with machine(setting, need(SEABIOS, "seabios"), "-smp", "2",
                 "-drive", f"file={disk},format=raw,if=virtio", "-debugcon", f"file:{debug}",
                 "-global", "isa-debugcon.iobase=0x402", "-M", "q35,smm=on",
                 "-trace", "kvm_pio", "-D", trace) as vm:
        first = vm.wait_for("sector runs", TIMEOUT)
        vm.qmp.command("system_reset")
        vm.wait_for("sector runs", TIMEOUT, first.end())
        # It has set up SMM: an SMI came back, by which it knows.
        expect(re.search(r"out port=0xb2.*\n.*in port=0xb2.*\n.*out port=0xb3",
                         open(trace, encoding="ascii").read()), "no SMI")
        qtree = vm.qmp.hmp("info qtree")
        expect("isa-debugcon" in qtree, qtree)
        vm.qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
    with open(debug, encoding="latin-1") as file:
        text = file.read()
    for what in ("Running on QEMU (q35)", "Found 2 cpu(s)", "ACPI: parse DSDT",
                 "found virtio-blk at 00:01.0"):
        expect(text.count(what) == 2, f"not twice in what it says: {what}\n{text}")


def seabios_nothing(setting, folder):
    """Without a disk it says so, and again after a reset; in a protected VM, as private RAM."""
    with machine(setting, need(SEABIOS, "seabios"), memory=protected("private", "64M")) as vm:
        first = vm.wait_for("No bootable device", TIMEOUT)
        vm.qmp.command("system_reset")
        vm.wait_for("No bootable device", TIMEOUT, first.end())
        # Whoever reads RAM that the firmware runs in finds it private.
        ranges = vm.qmp.command("x-query-ramblock-attributes")
        expect("pc.bios" in str(ranges), f"{ranges}")


def smm_ranges(setting, folder):
    """Without memory that SMM alone sees there is no SMM: SeaBIOS leaves it alone."""
    trace = os.path.join(folder, "trace")
    for value, expected in (("off", False), ("on", True)):
        with machine(setting, need(SEABIOS, "seabios"), "-trace", "kvm_pio", "-D", trace,
                     "-global", f"q35-pcihost.smm-ranges={value}", memory=("-m", "64M")) as vm:
            vm.wait_for("No bootable device", TIMEOUT)
        with open(trace, encoding="ascii") as file:
            expect(("out port=0xb2" in file.read()) == expected, f"smm-ranges={value}")


def seabios_linux(setting, folder):
    """It starts a kernel, which goes through its 16-bit entry, with command line and initrd."""
    with machine(setting, need(SEABIOS, "seabios"), *kernel(setting)) as vm:
        vm.wait_for("Booting from ROM", TIMEOUT)
        vm.wait_for("Command line: console=ttyS0 panic=-1", TIMEOUT)
        size = (os.path.getsize(os.path.join(setting.files, "initrd.gz")) + 4095) // 4096 * 4096
        disk = vm.wait_for(r"RAMDISK: \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\]", TIMEOUT)
        expect(abs(int(disk.group(2), 16) + 1 - int(disk.group(1), 16) - size) <= 4096,
               disk.group(0))


def to_shell(vm):
    vm.wait_for("to skip", TIMEOUT)
    vm.type("\x1b")
    vm.wait_for(r"Shell> ", TIMEOUT)


def ovmf(setting, folder):
    """It gets to its shell, which sees a disk and can reset."""
    disk = os.path.join(folder, "disk")
    with open(disk, "wb") as file:
        file.write(bytes(1 << 20))
    with machine(setting, need(OVMF, "ovmf"), "-drive", f"file={disk},format=raw,if=virtio",
                 "-smp", "2") as vm:
        to_shell(vm)
        expect("PciRoot(0x0)/Pci(0x1,0x0)" in vm.console, vm.console)
        vm.type("reset -s\r")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


def ovmf_linux(setting, folder):
    """In a protected VM it starts the kernel that fw_cfg has; -fw_cfg is there for Linux too."""
    with machine(setting, need(OVMF, "ovmf"), *kernel(setting), "-fw_cfg",
                 "opt/test,string=hello", memory=protected("private", "512M")) as vm:
        vm.wait_for(r"^guest# ", TIMEOUT)
        expect("efi: EFI v" in vm.console, "not started by firmware")
        vm.type("poweroff -f\n")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


def ovmf_in_place(setting, folder):
    """It gets to its shell in a protected VM whose memory is converted in place."""
    with machine(setting, need(OVMF, "ovmf"), memory=protected("guest-memfd", "256M")) as vm:
        to_shell(vm)
        vm.qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


VARIABLE = "Cloister -guid 11111111-2222-3333-4444-555555555555"


def flash(setting, folder):
    """A variable that the shell sets is there after a reset, and in a machine made anew."""
    path = os.path.join(folder, "vars")
    shutil.copy(need(OVMF_VARS, "ovmf"), path)
    drives = ["-drive", f"if=pflash,format=raw,readonly=on,file={need(OVMF_CODE, 'ovmf')}",
              "-drive", f"if=pflash,format=raw,file={path}"]

    def start():
        return Vm(setting.binary, ["-accel", "soft", "-m", "256M", *drives])

    def read(vm, value):
        start = len(vm.console)
        vm.type(f"setvar {VARIABLE}\r")
        vm.wait_for(value, TIMEOUT, start)

    with start() as vm:
        to_shell(vm)
        start_of_command = len(vm.console)
        vm.type(f"setvar {VARIABLE} -bs -nv =0x11223344\r")
        vm.wait_for("Shell> ", TIMEOUT, start_of_command)
        read(vm, "44 33 22 11")
        end = len(vm.console)
        vm.qmp.command("system_reset")
        vm.wait_for("to skip", TIMEOUT, end)
        vm.type("\x1b")
        vm.wait_for(r"Shell> ", TIMEOUT, end)
        read(vm, "44 33 22 11")
        vm.qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
    with open(path, "rb") as file:
        expect("Cloister".encode("utf-16-le") in file.read(), "not in the file")
    with start() as vm:
        to_shell(vm)
        read(vm, "44 33 22 11")
        other = subprocess.run([setting.binary, "-accel", "soft", *drives], capture_output=True,
                               text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
        expect('Failed to get "write" lock' in other.stderr, f"{other}")
        vm.type("reset -s\r")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


def bad(setting, folder):
    """What can't be firmware, and items that can't be added, are refused in a line."""
    odd, large, item, sector = (os.path.join(folder, name)
                                for name in ("odd", "large", "item", "sector"))
    for path, size in ((odd, 4096), (large, (16 << 20) + 65536), (item, 0), (sector, 512)):
        with open(path, "wb") as file:
            file.truncate(size)
    os.mkfifo(os.path.join(folder, "fifo"))
    good = os.path.join(folder, "good")
    with open(good, "wb") as file:
        file.write(b"\xf4" * 65536)
    like_seabios, bzimage = os.path.join(folder, "like-seabios"), os.path.join(folder, "bzImage")
    with open(like_seabios, "wb") as file:
        file.write(b"SeaBIOS (version".ljust(65536, b"\xf4"))
    with open(bzimage, "wb") as file:
        file.write(bytes(0x202) + b"HdrS" + bytes(4096))
    for arguments, message in (
            (["-bios", odd], "4096 bytes are no firmware image"),
            (["-bios", large], "16842752 bytes are no firmware image"),
            (["-bios", item], "0 bytes are no firmware image"),
            (["-bios", folder + "/fifo"], "is not a regular file"),
            (["-bios", folder], "is not a regular file"),
            (["-bios", "no-such-firmware"], "-bios: no-such-firmware: No such file"),
            (["-bios", good, "-kernel", good], "-kernel: firmware starts a Linux bzImage only"),
            (["-bios", good, "-fw_cfg", "opt/x"], "-fw_cfg: 'opt/x': a name and what it holds"),
            (["-bios", good, "-fw_cfg", "opt/x,string=a,file=b"], "-fw_cfg: 'opt/x,string=a,"),
            (["-bios", good, "-fw_cfg", "opt/x,file=" + item], "is empty"),
            (["-bios", good, "-fw_cfg", "etc/e820,string=a"], "-fw_cfg: name 'etc/e820' is taken"),
            (["-bios", good, "-fw_cfg", "opt/x,text=a"], "Invalid parameter 'text'"),
            (["-bios", good, "-debugcon", "null", "-global", "isa-debugcon.iobase=0x70"],
             "another device is there"),
            (["-bios", good, "-debugcon", "null", "-global", "isa-debugcon.iobase=65536"],
             "iobase=0x10000: is no I/O port"),
            (["-bios", good, "-global", "q35-pcihost.smm-ranges=on", *PRIVATE],
             "-global: smm-ranges=on: sw-protected-vm has no SMM"),
            (["-M", "q35,smm=on", "-bios", good, "-global", "q35-pcihost.smm-ranges=off"],
             "smm=on: smm-ranges=off leaves it no memory: smm=off"),
            (["-M", "q35,smm=off", "-bios", good, "-global", "q35-pcihost.smm-ranges=on"],
             "-global: smm-ranges=on: with smm=off nobody sees them: smm=auto"),
            (["-M", "q35,smm=on", "-bios", good, *PRIVATE], "smm=on: sw-protected-vm has no SMM"),
            (["-bios", like_seabios, "-kernel", bzimage, *PRIVATE], "-kernel: SeaBIOS has it loaded"),
            (["-M", "q35,smm=on", "-kernel", good], "smm=on: nothing but firmware sets it up"),
            (["-M", "q35,smm=on,memory-backend=m", "-bios", good, "-object",
              "memory-backend-guest-memfd,id=m,size=16M"], "smm=on: memory in a guest_memfd"),
            (["-bios", good, "-device", "isa-debugcon,chardev=c"], "can't find value 'c'"),
            (["-pflash", good, *PRIVATE], "pflash0: sw-protected-vm has none: writes to private"),
            (["-pflash", good, "-bios", good], "flash memory is where the processor starts"),
            (["-drive", f"if=pflash,unit=1,format=raw,file={good}"], "pflash1: firmware starts in"),
            (["-drive", f"if=pflash,unit=2,format=raw,file={good}"], "unit '2': there are two"),
            (["-pflash", good, "-drive", f"if=pflash,unit=0,format=raw,file={odd}"],
             "if=pflash: unit 0 is there already"),
            (["-pflash", good, "-pflash", odd, "-pflash", sector], "unit 1 is there already"),
            (["-pflash", good, "-pflash", good], 'Failed to get "write" lock'),
            (["-pflash", sector], "512 bytes are no flash memory: multiples of 4 KiB"),
            (["-pflash", large], "16842752 bytes are no flash memory"),
            (["-M", "q35,pflash0=f"], "no node 'f': add -blockdev")):
        run = subprocess.run([setting.binary, "-accel", "soft", "-m", "16", "-display", "none",
                              *arguments], capture_output=True, text=True, timeout=TIMEOUT,
                             stdin=subprocess.DEVNULL)
        expect(run.returncode == 1 and message in run.stderr and run.stderr.count("\n") == 1,
               f"{arguments}: {run}")


CASES = {"seabios": seabios, "seabios-linux": seabios_linux, "seabios-nothing": seabios_nothing,
         "smm-ranges": smm_ranges, "ovmf": ovmf, "ovmf-linux": ovmf_linux, "ovmf-in-place": ovmf_in_place, "flash": flash, "bad": bad}


sys.exit(run_cases(CASES, parser_of(CASES, __doc__).parse_args()))
