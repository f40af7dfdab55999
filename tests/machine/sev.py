# SPDX-License-Identifier: LGPL-2.1-or-later
"""sev.py --binary CLOISTER --files FOLDER CASE...: a stock kernel as a SEV guest.

FOLDER has vmlinuz and initrd.gz (make guest-files); status 77 where something lacks.
"""
import base64
import ctypes
import hashlib
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import VmError                                                 # noqa: E402
import sev_owner                                                                # noqa: E402
from cases import Skip, parser_of, run_cases                                    # noqa: E402
from linux_guest import MIB, TIMEOUT, Guest, expect, image, tool     # noqa: E402


class SevGuest(Guest):
    """properties: of the sev-guest object."""

    def __init__(self, setting, *arguments, smp=1, memory="256M", properties=""):
        super().__init__(setting, "-object", "sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1"
                         + properties, "-machine", "q35,confidential-guest-support=sev0",
                         "-smp", str(smp), *arguments,
                         memory=("-m", memory) if isinstance(memory, str) else memory)

    def prompt(self):
        try:
            super().prompt()
        except VmError as error:
            if "userfaultfd" in str(error):
                raise Skip(error) from error
            raise

    def shared_ranges(self):
        block, = self.qmp.command("x-query-ramblock-attributes")
        return [(r["start"], r["length"]) for r in block["ranges"] if r["shared"]]


def disk(setting, folder):
    """Linux finds SEV, shares its bounce buffer itself, and uses disk and port through that."""
    mkfs, debugfs = tool("mkfs.ext4"), tool("debugfs")
    root = image(folder, "root.img", 16 * MIB)
    subprocess.run([mkfs, "-q", "-F", root], check=True, timeout=60)
    with SevGuest(setting, "-drive", f"file={root},format=raw,if=none,id=d0",
                  "-device", "virtio-blk-pci,drive=d0,id=b0",
                  "-device", "virtio-rng-pci,id=r0", "-device", "virtio-serial-pci,id=s0",
                  "-chardev", f"file,id=c0,path={folder}/port",
                  "-device", "virtconsole,chardev=c0,id=p0", smp=2) as vm:
        vm.prompt()
        expect("Memory Encryption Features active: AMD SEV" in vm.console, "no SEV in the guest")
        expect("2 CPU(s)" in vm.console, "not two processors")
        vm.run("modules")
        vm.run("mount -t ext4 /dev/vda /mnt && seq 1 30000 > /mnt/numbers && sync")
        vm.run("echo 3 > /proc/sys/vm/drop_caches; seq 1 30000 | cmp - /mnt/numbers")
        expect(vm.run("head -c 1000 /dev/hwrng | wc -c").strip() == "1000", "no random numbers")
        vm.run("seq 1 5000 > /dev/hvc0")
        found = re.search(r"software IO TLB: mapped \[mem 0x(\w+)-0x(\w+)\]", vm.console)
        start, end = (int(text, 16) for text in found.groups())
        expect(any(first <= start and end <= first + size for first, size in vm.shared_ranges()),
               f"the bounce buffer isn't among the shared ranges: {vm.shared_ranges()}")
        expect("shared" in vm.qmp.hmp("info ramblock-attributes"), "info ramblock-attributes")
        causes = {c["cause"] for c in vm.qmp.command("x-query-conversions", limit=100000)}
        expect("hypercall" in causes and "memory-fault" not in causes, f"history: {causes}")
        expect(vm.dma("b0")["refused-dma"] == 0, "refused accesses")
        vm.qmp.command("stop")
        vm.qmp.command("cont")
        vm.run("rm /mnt/numbers && seq 1 9 > /mnt/small && umount /mnt")
        vm.power_off()
    text = subprocess.run([debugfs, "-R", "cat small", root], check=True, timeout=60,
                          capture_output=True, text=True).stdout
    expect(text.split() == [str(n) for n in range(1, 10)], f"the host reads {text!r}")
    with open(f"{folder}/port", encoding="ascii", newline="") as file:
        expect(file.read().split() == [str(n) for n in range(1, 5001)], "the port's numbers")


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def read_memory(pid, address, size):
    """process_vm_readv(2): of another process, waiting for pages as it would itself."""
    data = ctypes.create_string_buffer(size)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.process_vm_readv.restype = ctypes.c_ssize_t
    count = libc.process_vm_readv(pid, ctypes.byref(Iovec(ctypes.addressof(data), size)), 1,
                                  ctypes.byref(Iovec(address, size)), 1, 0)
    if count < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return data.raw[:count]


def host_memory(vm):
    """What the host sees of guest RAM, and of all memory that the process shares."""
    address = int(re.search(r"is (0x\w+)", vm.qmp.hmp("gpa2hva 0x100000")).group(1), 16) - MIB
    pid = vm.process.pid
    pieces = [(address, 256 * MIB)]
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        for line in maps:
            span, mode = line.split()[:2]
            if mode.startswith("rw") and mode.endswith("s"):
                start, end = (int(text, 16) for text in span.split("-"))
                pieces.append((start, end - start))
    for start, size in pieces:
        for at in range(start, start + size, MIB):
            try:
                yield read_memory(pid, at, min(MIB, start + size - at))
            except OSError as error:
                if start == address:
                    raise Skip(f"reading the guest's memory: {error}") from error


def secret(setting, folder):
    """What the guest wrote to private memory is nowhere where the host looks."""
    del folder
    seed = "what the host never saw"
    word = hashlib.sha256(seed.encode() + b"\n").hexdigest().encode()
    shared = ("-object", "memory-backend-memfd,id=m,size=256M,share=on", "-machine",
              "memory-backend=m")
    with SevGuest(setting, smp=4, memory=shared) as vm:
        vm.prompt()
        vm.run(f"for i in $(seq 200); do echo '{seed}' | sha256sum; done > /secret")
        expect(not any(word in part for part in host_memory(vm)), "the host sees the secret")
        # The same way what is shared is seen: it was looked at in the right place.
        expect(any(b"\0" * 65536 in part for part in host_memory(vm)), "the bounce buffer")
        vm.run("sort -u /secret | wc -l | grep -q '^1$'")
        reply = vm.qmp.execute("pmemsave", val=0x200000, size=4096, filename="/dev/null")
        expect("private" in reply.get("error", {}).get("desc", ""), f"pmemsave: {reply}")
        vm.power_off()


def refused(vm, name, words, **arguments):
    reply = vm.qmp.execute(name, **arguments)
    expect(words in reply.get("error", {}).get("desc", ""), f"{name}: {reply}")


def acpi_tables(setting, folder, memory):
    """Those of an ordinary VM that is alike; the same for the SEV guest."""
    path = os.path.join(folder, "acpi")
    with Guest(setting, "-S", memory=("-m", str(memory // MIB))) as vm:
        vm.qmp.command("pmemsave", val=sev_owner.low_ram(memory) - sev_owner.ACPI_SIZE,
                       size=sev_owner.ACPI_SIZE, filename=path)
    return sev_owner.read(path)


def expected_digest(setting, vm, acpi, memory):
    initrd = sev_owner.read(os.path.join(setting.files, "initrd.gz"))
    append = vm.command[vm.command.index("-append") + 1]
    return sev_owner.launch_digest(sev_owner.read(os.path.join(setting.files, "vmlinuz")), initrd,
                                   append, memory, acpi)


def launch(setting, folder):
    """States, commands and errors of a launch; the digest is that of the files and tables."""
    memory, nonce = 256 * MIB, os.urandom(16)
    acpi = acpi_tables(setting, folder, memory)
    with SevGuest(setting, "-S", properties=",policy=0x3") as vm:
        expect(vm.qmp.command("query-sev") == {
            "enabled": True, "api-major": 0, "api-minor": 24, "build-id": 1, "policy": 3,
            "state": "launch-secret", "sev-type": "sev", "handle": 1}, "query-sev")
        measure = base64.b64decode(vm.qmp.command("query-sev-launch-measure")["data"])
        expect(len(measure) == 48, f"measurement of {len(measure)} bytes")
        able = vm.qmp.command("query-sev-capabilities")
        expect((able["cbitpos"], able["reduced-phys-bits"]) == (51, 1), f"capabilities: {able}")
        expect(len(base64.b64decode(able["cert-chain"])) == 3 * 2084, "the chain of certificates")
        report = base64.b64decode(vm.qmp.command(
            "query-sev-attestation-report", mnonce=base64.b64encode(nonce).decode())["data"])
        expect(report[:16] == nonce, "the report's nonce")
        expect(report[16:48] == expected_digest(setting, vm, acpi, memory),
               "the digest isn't that of kernel, initrd, command line and tables")
        report = "query-sev-attestation-report"
        refused(vm, report, "mnonce must be 16 bytes (got 3)", mnonce="AAAA")
        refused(vm, report, "decode mnonce", mnonce="*")
        packet = {"packet-header": "AAAA", "secret": "A" * 24}
        refused(vm, "sev-inject-launch-secret", "gpa must be specified", **packet)
        refused(vm, "sev-inject-launch-secret", "Buffer too small", gpa=0x200000, **packet)
        refused(vm, "sev-inject-launch-secret", "not in one piece of RAM", gpa=1 << 40, **packet)
        refused(vm, "sev-inject-launch-secret", "decode data", gpa=0,
                **{"packet-header": "AAAA", "secret": "A"})
        refused(vm, "x-convert-memory", "only it can convert", gpa=0, size=4096, to="shared")
        refused(vm, "object-del", "in use", id="sev0")
        refused(vm, "object-add", "when it is started",
                **{"qom-type": "sev-guest", "id": "sev1", "cbitpos": 51, "reduced-phys-bits": 1})
        vm.qmp.command("cont")
        expect(vm.qmp.command("query-sev")["state"] == "running", "running")
        expect("debug: off\nkey-sharing: off\n" in vm.qmp.hmp("info sev"), vm.qmp.hmp("info sev"))
        refused(vm, "sev-inject-launch-secret", "Not in correct state", gpa=0, **packet)
        vm.prompt()
        # It can't be launched again.
        vm.qmp.command("system_reset")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
        expect("loaded and launched again" in vm.errors(), vm.errors())
    with Guest(setting, "-S") as vm:
        expect(not vm.qmp.command("query-sev")["enabled"], "an ordinary VM")
        expect(vm.qmp.hmp("info sev") == "SEV is not enabled\n", "info sev")
        refused(vm, "query-sev-launch-measure", "SEV launch measurement is not available")
        refused(vm, "query-sev-capabilities", "SEV is not enabled in KVM")
        refused(vm, "sev-inject-launch-secret", "SEV not enabled for guest", **packet)
        refused(vm, report, "SEV is not enabled", mnonce="AAAA")
        refused(vm, "object-add", "when it is started",
                **{"qom-type": "sev-guest", "id": "sev1", "cbitpos": 51, "reduced-phys-bits": 1})


OVMF = "/usr/share/ovmf/OVMF.fd"


class FirmwareFault(Exception):
    """
    OVMF without flash reads variables that it never wrote: with SEV they are noise, on any
    machine, and one start in ten or so ends in its fault-tolerant-write driver.
    """


def booted(vm, since):
    """Where the console says that Linux is up."""
    match = vm.wait_for(r"^cloister-init: .* 2 CPU\(s\)|X64 Exception Type", TIMEOUT, since)
    if match.group().startswith("X64"):
        raise FirmwareFault
    return match.end()


def ovmf(setting, folder):
    """Firmware is what is measured; it boots, also again, and its kernel uses a disk."""
    if not os.path.exists(OVMF):
        raise Skip(f"no {OVMF}: install ovmf")
    for _ in range(4):
        try:
            return boot_ovmf(setting, folder)
        except FirmwareFault:
            print("ovmf: it stopped on variables of noise; once more")
    raise VmError("OVMF stopped four times")


def boot_ovmf(setting, folder):
    disk_image = image(folder, "disk.img", MIB)
    with SevGuest(setting, "-S", "-bios", OVMF, "-drive",
                  f"file={disk_image},format=raw,if=none,id=d0", "-device",
                  "virtio-blk-pci,drive=d0,id=b0", smp=2, memory="512M") as vm:
        report = base64.b64decode(vm.qmp.command("query-sev-attestation-report",
                                                 mnonce="A" * 22 + "==")["data"])
        expect(report[16:48] == hashlib.sha256(sev_owner.read(OVMF)).digest(), "the digest")
        packet = {"packet-header": "AAAA", "secret": "A" * 24}
        refused(vm, "sev-inject-launch-secret", "gpa must be specified", **packet)
        vm.qmp.command("cont")
        seen = 0
        for turn in range(2):
            seen = booted(vm, seen)
            vm.wait_for(r"^guest# ", TIMEOUT, seen)
            expect(vm.console.count("efi: EFI v") == turn + 1, "not started by firmware")
            expect(vm.console.count("Features active: AMD SEV") == turn + 1, "no SEV")
            vm.run("modules && seq 1 10000 | head -c 4096 > /dev/vda && sync")
            expect(vm.dma("b0")["refused-dma"] == 0, "refused accesses")
            if not turn:
                vm.qmp.command("system_reset")
        vm.power_off()
    expect(sev_owner.read(disk_image)[:6] == b"1\n2\n3\n", "the disk")


def platform_guest(setting, secret, properties):
    """Stopped, on the platform that has its keys from this file."""
    return SevGuest(setting, "-S", "-accel", f"soft,sev-platform={secret}", properties=properties)


def owner(setting, folder):
    """A session, the measurement by its key, and a secret that is the guest's command line."""
    secret, memory, policy = os.path.join(folder, "platform"), 256 * MIB, 0x1
    for name in (secret, secret + "2"):
        with open(name, "wb") as file:
            file.write(os.urandom(32))
    with platform_guest(setting, secret, "") as vm:
        pdh = base64.b64decode(vm.qmp.command("query-sev-capabilities")["pdh"])
    files = [os.path.join(folder, name) for name in ("godh.b64", "session.b64")]
    cert, session, tek, tik = sev_owner.make_session(pdh, policy)
    for name, data in zip(files, (cert, session)):
        with open(name, "wb") as file:
            file.write(base64.b64encode(data) + b"\n")
    properties = ",dh-cert-file={},session-file={}".format(*files)
    with platform_guest(setting, secret, properties) as vm:
        blob = base64.b64decode(vm.qmp.command("query-sev-launch-measure")["data"])
        digest = expected_digest(setting, vm, acpi_tables(setting, folder, memory), memory)
        wanted = sev_owner.measurement(tik, (0, 24), 1, policy, digest, blob[32:])
        expect(blob[:32] == wanted, "the measurement isn't what its owner computes")
        line = b"console=ttyS0 panic=-1 owner=was-here\0"
        for measure, words in ((bytes(32), "SEV's firmware says 11: Bad measurement"), (blob, None)):
            header, data = sev_owner.make_secret(tek, tik, measure, line)
            packet = {"packet-header": base64.b64encode(header).decode(),
                      "secret": base64.b64encode(data).decode(), "gpa": 0x10000}
            if words:
                refused(vm, "sev-inject-launch-secret", words, **packet)
        vm.qmp.command("sev-inject-launch-secret", **packet)
        vm.qmp.command("cont")
        vm.prompt()
        expect("owner=was-here" in vm.run("cat /proc/cmdline"), "the secret")
        vm.power_off()
    for other, wrong in ((properties + ",policy=0x0", secret), (properties, secret + "2")):
        with platform_guest(setting, wrong, other) as vm:
            expect(vm.wait_end(TIMEOUT) == 1 and "says 11: Bad measurement" in vm.errors(),
                   f"a session for something else: {vm.errors()}")


CASES = {"disk": disk, "launch": launch, "owner": owner, "ovmf": ovmf, "secret": secret}


def main():
    parser = parser_of(CASES, __doc__)
    parser.add_argument("--accel", default="soft")
    return run_cases(CASES, parser.parse_args(), "vmlinuz", "initrd.gz", "modules/order")


sys.exit(main())
