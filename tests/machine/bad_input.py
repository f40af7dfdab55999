# SPDX-License-Identifier: LGPL-2.1-or-later
"""bad_input.py --binary CLOISTER --guests FOLDER: each mistake is one line and status 1.

Nothing is left behind: no socket, no pid file, no process.
"""
import argparse
import os
import struct
import subprocess
import sys
import tempfile
import uuid

TIMEOUT = 60


def make_elfs(write, guest):
    """A guest that runs, with one header field after the other made hostile."""
    with open(guest, "rb") as file:
        good = file.read()
    phoff, = struct.unpack_from("<Q", good, 0x20)
    phentsize, phnum = struct.unpack_from("<HH", good, 0x36)
    headers = [phoff + i * phentsize for i in range(phnum)]
    load = next(at for at in headers if struct.unpack_from("<I", good, at)[0] == 1)
    note = next(at for at in headers if struct.unpack_from("<I", good, at)[0] == 4)
    for name, layout, at, value in (
            ("elf-phoff", "<Q", 0x20, 2**64 - 1), ("elf-phnum", "<H", 0x38, 0xffff),
            ("elf-arm", "<H", 0x12, 0x28), ("elf-offset", "<Q", load + 8, 2**64 - 4096),
            ("elf-filesz", "<Q", load + 0x20, 2**64 - 1),
            ("elf-memsz", "<Q", load + 0x28, 2**64 - 1),
            ("elf-paddr", "<Q", load + 0x18, 2**64 - 4096),
            ("elf-high", "<Q", load + 0x18, 1 << 30),
            ("elf-overlap", "<Q", load + 0x28, 1 << 30), ("elf-no-pvh", "<I", note, 0)):
        data = bytearray(good)
        struct.pack_into(layout, data, at, value)
        write(name, data)
    write("elf-cut", good[:phoff + phentsize])


def make_files(folder, guest):
    """Files with something wrong, by name."""
    def write(name, data):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)

    header = bytearray(0x1000)
    header[0x1f1] = 1
    header[0x1fe:0x206] = b"\x55\xaa\xeb\x6aHdrS"
    header[0x206:0x208] = b"\x0f\x02"
    header[0x211] = 1
    header[0x230:0x234] = struct.pack("<I", 0x200000)
    header[0x234] = 1
    header[0x258:0x264] = struct.pack("<QI", 0x1000000, 0x100000)
    header[0x238:0x23c] = struct.pack("<I", 255)
    write("bzimage", header)
    write("truncated", header[:0x300])
    header[0x258:0x260] = b"\xff" * 8
    write("hostile", header)
    write("empty", b"")
    write("text", b"not a kernel\n" * 100)
    write("firmware", b"\xf4" * 65536)
    # A table that has one entry, SEV-ES's, as it stands before the last 32 bytes.
    entry = uuid.UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e").bytes_le
    footer = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
    table = bytes(4) + b"\x16\0" + entry + b"\x28\0" + footer
    write("sev-firmware", b"\xf4" * (65536 - 32 - len(table)) + table + b"\xf4" * 32)
    write("elf", b"\x7fELF" + bytes(60))
    write("short-elf", b"\x7fELF\x02\x01")
    make_elfs(write, guest)
    os.mkfifo(os.path.join(folder, "fifo"))
    os.mkdir(os.path.join(folder, "directory"))
    with open(os.path.join(folder, "huge"), "wb") as file:
        file.truncate(3 << 30)


# Arguments ({} is the folder, {guest} a guest that runs), and what the line contains.
VIRTIO_MEM = ("-kernel {guest} -m 64,maxmem=1G -object memory-backend-ram,id=m,size=64M "
              "-device virtio-mem-pci,memdev=m,")
SEV = ("-kernel {}/bzimage -accel soft -object sev-guest,id=s,cbitpos=51,reduced-phys-bits=1 "
       "-machine confidential-guest-support=s,kvm-type=sev ")
NOT_SEV = "-kernel {}/bzimage -accel soft -object sev-guest,id=s,cbitpos=51"
CASES = [
    ("", "-kernel: there is nothing to boot"),
    ("-kernel {}/missing", "-kernel: {}/missing: No such file"),
    ("-kernel {}/directory", "is a directory"),
    ("-kernel {}/fifo", "is not a regular file"),
    ("-kernel /dev/zero", "is not a regular file"),
    ("-kernel {}/empty", "is empty"),
    ("-kernel {}/text", "not a kernel"),
    ("-kernel {}/huge", "too large"),
    ("-kernel {}/truncated", "truncated"),
    ("-kernel {}/hostile", "wants to run at"),
    ("-kernel {}/elf", "ELF"),
    ("-kernel {}/short-elf", "truncated within its ELF header"),
    ("-kernel {}/bzimage -m 16M", "needs memory up to 17 MiB"),
    ("-kernel {}/bzimage -initrd {}/huge", "-initrd: {}/huge"),
    ("-kernel {}/bzimage -initrd {}/missing", "-initrd: {}/missing: No such file"),
    ("-kernel {}/bzimage -initrd {}/fifo", "is not a regular file"),
    ("-kernel {}/bzimage -append " + "x" * 256, "-append: 256 characters"),
    ("-kernel {guest} -append " + "x" * 70000, "-append: 70000 characters"),
    ("-kernel {guest} -m 1M", "-m: 1024 KiB are too little"),
    ("-kernel {guest} -m 0", "-m: "),
    ("-kernel {guest} -m 1000P", "-m: "),
    ("-kernel {guest} -m 8P", "address bits reach"),
    ("-kernel {guest} -smp 0", "-smp: "),
    ("-kernel {guest} -smp 1000", "-smp: "),
    ("-kernel {guest} -machine memory-backend=nosuch", "Memory backend 'nosuch' not found"),
    ("-kernel {guest} -object memory-backend-ram,id=a,size=0", "-object: "),
    ("-kernel {guest} -object memory-backend-ram,id=a,size=4097", "-object: "),
    ("-kernel {guest} -object memory-backend-ram,id=a", "-object: "),
    ("-kernel {guest} -object memory-backend-ram,size=1M", "-object: "),
    ("-kernel {guest} -object memory-backend-ram,id=a,size=1M,nosuch=1", "-object: "),
    ("-kernel {guest} -object nosuch,id=a", "-object: "),
    ("-kernel {guest} -object memory-backend-ram,id=a,size=1M "
     "-object memory-backend-ram,id=a,size=1M", "-object: "),
    ("-kernel {guest} -object {", "-object: "),
    ("-kernel {guest} -object memory-backend-ram,id=m,size=64M -m 32M "
     "-machine memory-backend=m", "-m: machine memory size"),
    ("-kernel {guest} -object memory-backend-ram,id=m,size=64M "
     "-machine memory-backend=m,kvm-type=sw-protected-vm", "has to be private"),
    ("-kernel {guest} -object memory-backend-ram,id=m,size=64M,private=on "
     "-machine memory-backend=m", "is for protected VMs"),
    ("-kernel {guest} -machine confidential-guest-support=sev0", "there is no such object: -object"),
    ("-kernel {guest} -object memory-backend-ram,id=a,size=4K -machine "
     "confidential-guest-support=a", "a memory-backend-ram isn't for that"),
    ("-kernel {guest} -machine kvm-type=sev", "none is named: -object sev-guest"),
    (NOT_SEV, "reduced-phys-bits=0: it should be in the range of 1"),
    (NOT_SEV + ",reduced-phys-bits=1,dh-cert-file={}/text", "go together"),
    (NOT_SEV + ",reduced-phys-bits=1,dh-cert-file={}/missing,session-file={}/text",
     "dh-cert-file={}/missing: is not a regular file"),
    (NOT_SEV + ",reduced-phys-bits=1,dh-cert-file={}/elf,session-file={}/text",
     "dh-cert-file={}/elf: is not base64"),
    (NOT_SEV + ",reduced-phys-bits=1 -machine kvm-type=sw-protected-vm,"
     "confidential-guest-support=s", "takes no such object: kvm-type=sev"),
    ("-kernel {}/bzimage -accel soft -object sev-guest,id=s,cbitpos=47,reduced-phys-bits=1 "
     "-machine confidential-guest-support=s", "cbitpos check failed, host '51' requested '47'"),
    (SEV + "-machine smm=on", "sev has no SMM"),
    (SEV + "-object memory-backend-ram,id=m,size=64M,private=on -machine memory-backend=m",
     "private=on is a second backing"),
    (SEV + "-object memory-backend-guest-memfd,id=m,size=64M -machine memory-backend=m",
     "a guest_memfd has no place"),
    (SEV + "-object memory-backend-file,id=m,size=64M,mem-path={}/huge -machine memory-backend=m",
     "takes neither huge pages nor private mappings of files"),
    (SEV + "-bios {}/firmware", "isn't made for SEV"),
    (SEV.replace("-bits=1", "-bits=1,kernel-hashes=on") + "-bios {}/sev-firmware",
     "has no place for hashes"),
    (SEV.replace("-bits=1", "-bits=1,kernel-hashes=on"), "it is firmware that checks them"),
    (SEV.replace("-bits=1", "-bits=1,policy=0xff0000"), "SEV's firmware says 7: Policy"),
    (SEV.replace("-bits=1", "-bits=1,handle=7"), "the launch can't be started"),
    (SEV.replace("{}/bzimage", "{guest}"), "PVH entry reads its start info without the C-bit"),
    (SEV.replace("-accel soft", "-accel kvm"), "-accel: /dev/kvm "),
    (SEV.replace("-accel soft", "-accel soft,sev-platform={}/missing"), "sev-platform: "),
    (SEV.replace("-accel soft", "-accel soft,sev-platform={}/short-elf"), "32 to 65536"),
    (SEV + "-m 64,maxmem=1G -object memory-backend-ram,id=m,size=64M "
     "-device virtio-mem-pci,memdev=m", "Discarding RAM is disabled"),
    (SEV + "-device virtio-rng-pci,x-share-rings=on", "x-share-rings=off"),
    ("-kernel {guest} -pidfile {}/directory", "-pidfile: "),
    ("-kernel {guest} -pidfile {}/missing/pid", "-pidfile: "),
    ("-kernel {guest} -D {}/missing/log", "-D: "),
    ("-kernel {guest} -trace nosuch", "-trace: no event matches 'nosuch'"),
    ("-kernel {guest} -serial nosuch:x", "-serial: "),
    ("-kernel {guest} -serial chardev:nosuch", "-serial: "),
    ("-kernel {guest} -serial unix:{}/missing/s,server=on,wait=off", "-serial: "),
    ("-kernel {guest} -qmp unix:{}/s,server=on,wait=off -pidfile {}/pid -serial chardev:nosuch",
     "-serial: "),
    ("-kernel {guest} -chardev null,id=a -chardev null,id=a", "-chardev: "),
    ("-kernel {guest} -chardev null", "-chardev: "),
    ("-kernel {guest} -mon nosuch", "-mon: "),
    ("-kernel {guest} -serial stdio -monitor stdio", "-monitor: "),
    ("-kernel {}/elf-phoff", "program headers are outside the file"),
    ("-kernel {}/elf-phnum", "65535 ELF program headers"),
    ("-kernel {}/elf-cut", "program headers are outside the file"),
    ("-kernel {}/elf-arm", "another processor"),
    ("-kernel {}/elf-offset", "outside the file"),
    ("-kernel {}/elf-filesz", "-kernel: {}/elf-filesz: "),
    ("-kernel {}/elf-memsz", "isn't below 4 GiB"),
    ("-kernel {}/elf-paddr", "isn't below 4 GiB"),
    ("-kernel {}/elf-high", "is outside what is loaded"),
    ("-kernel {}/elf-overlap", "overlap"),
    ("-kernel {}/elf-no-pvh", "without a PVH entry note"),
    ("-kernel {guest} -initrd {}/huge", "-initrd: {}/huge: 3072 MiB don't fit"),
    ("-kernel {guest} -initrd {}/directory", "is a directory"),
    ("-kernel {guest} -initrd {}/empty", "is empty"),
    ("-append x", "add -kernel FILE"),
    ("-kernel", "-kernel: requires an argument"),
    ("-kernel {guest} -nosuch", "-nosuch: invalid option"),
    ("-kernel {guest} stray", "'stray': "),
    ("-kernel {guest} -machine nosuch", "unsupported machine type 'nosuch': q35"),
    ("-kernel {guest} -machine q35 -machine pc", "unsupported machine type 'pc': q35"),
    ("-kernel {guest} -machine q35,nosuch=1", "'q35-machine.nosuch' not found"),
    ("-kernel {guest} -machine kvm-type=tdx", "does not accept value 'tdx': -machine q35,help"),
    ("-kernel {guest} -accel tcg", "invalid accelerator 'tcg': kvm or soft"),
    ("-kernel {guest} -cpu nosuch", "unable to find CPU model 'nosuch'"),
    ("-kernel {guest} -m 1K", "-m: '1K' is not a multiple of 4096"),
    ("-kernel {guest} -m 1E", "address bits reach"),
    ("-kernel {guest} -m -1", "-m: '-1' is not a size"),
    ("-kernel {guest} -m 65537K", "-m: '65537K' is not a multiple of 4096"),
    ("-kernel {guest} -m 99999999999999999999", "is not a size"),
    ("-kernel {guest} -smp -1", "-smp: cpus='-1' is not a number"),
    ("-kernel {guest} -smp 2,cores=4", "is not the number of CPUs"),
    ("-kernel {guest} -object memory-backend-ram,id=a,size=-1", "expects a size value: size=512M"),
    ("-kernel {guest} -object memory-backend-ram,id=a,size=8E", "cannot set up guest memory"),
    ("-kernel {guest} -object memory-backend-guest-memfd,id=a,size=1", "multiple of 4 KiB"),
    ("-kernel {guest} -object memory-backend-ram,id=1a,size=1M", "expects an identifier: a letter"),
    ("-kernel {guest} -object =", "a key is missing"),
    ('-kernel {guest} -object {"qom-type":5}', "expected: string: -object TYPE,help"),
    ('-kernel {guest} -object {"qom-type":"memory-backend-ram","id":"a"}', "'size' is missing: "),
    ('-kernel {guest} -object {"qom-type":"memory-backend-ram","id":"a","size":1.5}',
     "expects uint64: "),
    ('-kernel {guest} -object {"qom-type":"memory-backend-ram","id":"a","size":[1]}',
     "expects uint64: "),
    ('-kernel {guest} -object {"qom-type":"memory-backend-ram","id":"a\\u0000b","size":4096}',
     "Invalid parameter type for 'id'"),
    ('-kernel {guest} -object {"a":', "JSON parse error: unexpected end"),
    ("-kernel {guest} -object " + "{" * 5000, "JSON parse error"),
    ("-kernel {guest} -pidfile {}/fifo", "is not a regular file: another file"),
    ("-kernel {guest} -pidfile /proc/nosuch", "-pidfile: /proc/nosuch: "),
    ("-kernel {guest} -qmp unix:/proc/nosuch,server=on,wait=off", "-qmp: Failed to bind"),
    ("-kernel {guest} -qmp unix:{}/text,server=on,wait=off", "-qmp: Failed to bind"),
    ("-kernel {guest} -qmp unix:{}/" + "x" * 120 + ",server=on,wait=off", "is too long"),
    ("-kernel {guest} -qmp unix:{}/s,server=maybe", "expects 'on' or 'off'"),
    ("-kernel {guest} -qmp tcp:localhost:99999,server=on,wait=off", "99999 is larger than 65535"),
    ("-kernel {guest} -qmp tcp::", "a TCP address is [HOST]:PORT"),
    ("-kernel {guest} -serial file:{}/fifo", "-serial: Could not open"),
    ("-kernel {guest} -serial file:{}/directory", "-serial: Could not open"),
    ("-kernel {guest} -chardev socket,id=a,path={}/a,server=on,wait=off -mon chardev=b",
     "-mon: chardev \"b\" not found"),
    ("-kernel {guest} -qmp unix:{}/q,server=on,wait=off -qmp unix:{}/q,server=on,wait=off",
     "-qmp: Failed to bind"),
    ("-kernel {guest} -qmp unix:{}/q,server=on,wait=off -pidfile {}/p -m 1E", "-m: "),
    ("-kernel {}/missing -qmp unix:{}/q,server=on,wait=off -pidfile {}/p", "-kernel: "),
    ("-kernel {guest} -device nosuch", "'nosuch' is not a valid device model name"),
    ("-kernel {guest} -device virtio-rng-pci,id=a -device virtio-rng-pci,id=a",
     "-device virtio-rng-pci,id=a: Duplicate ID 'a' for device"),
    ("-kernel {guest} -device virtio-rng-pci,vectors=1000", "doesn't take value '1000'"),
    ("-kernel {guest} -device virtio-rng-pci,disable-legacy=off", "there is no legacy interface"),
    ("-kernel {guest} -device virtio-rng-pci,addr=0", "PCI: slot 0 function 0 not available"),
    ("-kernel {guest} -device virtio-rng-pci,addr=2.1", "PCI: slot 2 function 1 not available"),
    ("-kernel {guest} -device " + "{" * 5000, "JSON parse error"),
    ("-kernel {guest} -m 64,maxmem=999999T", "-m: maxmem="),
    ("-kernel {guest} -m maxmem=64M", "-m: maxmem=64 MiB is less than the RAM, 128 MiB"),
    ("-kernel {guest} -device virtio-mem-pci", "'memdev' property is not set"),
    ("-kernel {guest} -device virtio-mem-pci,memdev=nosuch", "Device 'nosuch' not found"),
    ("-kernel {guest} -device virtio-mem-pci,size=1M",
     "Property 'virtio-mem-pci.size' is not writable"),
    ("-kernel {guest} -object memory-backend-ram,id=a,size=64M -device virtio-mem-pci,memdev=a",
     "please specify the maxmem option"),
    (VIRTIO_MEM + "block-size=3M", "'block-size' property has to be a power of two"),
    (VIRTIO_MEM + "block-size=64K", "'block-size' property has to be at least 0x100000"),
    (VIRTIO_MEM + "block-size=128M", "size has to be multiples of 'block-size' (0x8000000)"),
    (VIRTIO_MEM + "requested-size=1M", "'requested-size' has to be multiples of 'block-size' (0x2"),
    (VIRTIO_MEM + "requested-size=66M", "'requested-size' cannot exceed the memory backend size"),
    (VIRTIO_MEM + "memaddr=0x1", "address must be aligned to 0x200000 bytes"),
    (VIRTIO_MEM + "memaddr=1G", "can't add memory device [0x40000000:0x4000000], usable range"),
    (VIRTIO_MEM + "memaddr=0xffffffffffe00000", "can't add memory device"),
    (VIRTIO_MEM + "node=1", "'node' property has value 1, which exceeds"),
    (VIRTIO_MEM + "dynamic-memslots=on", "'dynamic-memslots' is not there"),
    (VIRTIO_MEM + "id=a -device virtio-mem-pci,memdev=m", "can't use already busy memdev: m"),
    (VIRTIO_MEM + "id=a -object memory-backend-ram,id=n,size=64M -device "
     "virtio-mem-pci,memdev=n,memaddr=4G", "address range conflicts with memory device id='a'"),
    (VIRTIO_MEM + "id=a -object memory-backend-ram,id=n,size=960M -device "
     "virtio-mem-pci,memdev=n", "not enough space, currently 0x4000000 in use of total"),
    ("-kernel {guest} -m 64,maxmem=1G -object memory-backend-memfd,id=m,size=64M,prealloc=on "
     "-device virtio-mem-pci,memdev=m", "a memdev with preallocation enabled: m"),
    ("-kernel {guest} -m 64,maxmem=1G -object memory-backend-ram,id=m,size=64M,private=on "
     "-device virtio-mem-pci,memdev=m", "which is for protected VMs: m"),
    ("-kernel {guest} -M q35,kvm-type=sw-protected-vm -m 64,maxmem=1G -accel soft "
     "-object memory-backend-ram,id=m,size=64M -device virtio-mem-pci,memdev=m",
     "a memdev that can't be private: m"),
    ("-kernel {guest} -M q35,kvm-type=sw-protected-vm -m 64,maxmem=1G -accel soft "
     "-object memory-backend-ram,id=m,size=64M,private=on "
     "-device virtio-mem-pci,memdev=m,unplugged-inaccessible=off", "must not be set to 'off'"),
    ("-kernel {guest} -drive file={}/missing,format=raw,if=virtio", "Could not open '{}/missing'"),
    ("-kernel {guest} -drive file={}/text,format=raw,if=virtio", "is not a multiple of 512"),
    ("-kernel {guest} -drive file={}/directory,format=raw,if=virtio", "Could not open"),
    ("-kernel {guest} -drive file={}/fifo,format=raw,if=virtio", "neither a file nor"),
    ("-kernel {guest} -drive file={}/bzimage,if=virtio", "format=raw"),
    ("-kernel {guest} -drive file={}/bzimage,format=raw", "does not support if=ide: if=virtio"),
    ("-kernel {guest} -drive file={}/bzimage,format=raw,if=none", "id=ID"),
    ("-kernel {guest} -drive file={}/bzimage,format=raw,if=none,id=a -drive "
     "file={}/bzimage,format=raw,if=none,id=b", "Failed to get \"write\" lock"),
    ("-kernel {guest} -drive file={}/bzimage,format=raw,if=none,id=a -device "
     "virtio-blk-pci,drive=a -device virtio-blk-pci,drive=a", "Drive 'a' is already in use"),
    ("-kernel {guest} -blockdev driver=file,filename={}/bzimage", "'node-name' must be specified"),
    ("-kernel {guest} -blockdev driver=file,node-name=a,filename={}/bzimage,x=1",
     "Parameter 'x' is unexpected"),
    ("-kernel {guest} -device virtconsole", "No 'virtio-serial-bus' bus found for device"),
    ("-kernel {guest} -device virtio-serial-pci -device virtconsole,chardev=a",
     "Property 'virtconsole.chardev' can't find value 'a'"),
    ("-kernel {guest} -chardev null,id=c -device virtio-serial-pci -device virtconsole,chardev=c "
     "-device virtconsole,chardev=c", "Device 'c' is in use"),
    ("-kernel {guest} -device virtio-serial-pci,max_ports=0", "maximum ports supported: 31"),
    ("-kernel {guest} -device virtio-serial-pci,max_ports=1 -device virtserialport", "port limit"),
    ("-kernel {guest} -device virtio-serial-pci -device virtserialport,nr=31", "Out-of-range port"),
    ("-kernel {guest} -device virtio-serial-pci -device virtconsole,bus=pcie.0", "can't go on PCIE"),
    ("-daemonize -display none -kernel {}/missing", "-kernel: "),
]


def check(binary, folder, guest, line, text):
    before = sorted(os.listdir(folder))
    arguments = [word.replace("{guest}", guest).replace("{}", folder) for word in line.split(" ")
                 if word]
    if "-accel" not in arguments:
        arguments = ["-accel", "soft"] + arguments
    result = subprocess.run([binary, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                            timeout=TIMEOUT)
    stderr = result.stderr.decode("utf-8", "replace")
    problems = []
    if result.returncode != 1:
        problems.append(f"status {result.returncode}, not 1")
    if not stderr.startswith("cloister: ") or stderr.count("\n") != 1:
        problems.append("not one line that begins with 'cloister: '")
    if text.replace("{}", folder) not in stderr:
        problems.append(f"it doesn't say '{text}'")
    if result.stdout:
        problems.append(f"something on stdout: {result.stdout[:100]}")
    left = sorted(set(os.listdir(folder)) - set(before))
    if left:
        problems.append(f"left behind: {left}")
    if problems:
        print(f"{line}: FAILED: {'; '.join(problems)}\n    {stderr.strip()}", flush=True)
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    arguments = parser.parse_args()
    guest = os.path.abspath(os.path.join(arguments.guests, "hello.elf"))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="cloister-") as folder:
        make_files(folder, guest)
        for line, text in CASES:
            failed += not check(arguments.binary, folder, guest, line, text)
    print(f"{len(CASES) - failed} of {len(CASES)} mistakes are told as they should be")
    return 1 if failed else 0


sys.exit(main())
