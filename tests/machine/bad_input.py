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

TIMEOUT = 60


def make_files(folder):
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
    write("elf", b"\x7fELF" + bytes(60))
    write("short-elf", b"\x7fELF\x02\x01")
    os.mkfifo(os.path.join(folder, "fifo"))
    os.mkdir(os.path.join(folder, "directory"))
    with open(os.path.join(folder, "huge"), "wb") as file:
        file.truncate(3 << 30)


# Arguments ({} is the folder, {guest} a guest that runs), and what the line contains.
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
    ("-kernel {guest} -machine confidential-guest-support=sev0", "confidential-guest-support"),
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
        make_files(folder)
        for line, text in CASES:
            failed += not check(arguments.binary, folder, guest, line, text)
    print(f"{len(CASES) - failed} of {len(CASES)} mistakes are told as they should be")
    return 1 if failed else 0


sys.exit(main())
