#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""qemu.py --build BUILD --files FOLDER [CASE...]: QEMU's own KVM code on softkvm.

`softkvm qemu-system-x86_64 -accel kvm` boots a stock kernel to /init with QEMU's
firmware; all cases if none is named.  FOLDER has vmlinuz and initrd.gz (make
guest-files).  --compare: the same boots under -accel tcg, and the ratio.  What
lacks is said; status 77 where nothing could run.
"""
import argparse
import contextlib
import os
import pathlib
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

EXIT_SKIP = 77
TIMEOUT = 240 * int(os.environ.get('TEST_SLOWER', '1'))
QEMU = 'qemu-system-x86_64'
APPEND = 'console=ttyS0 panic=-1 run=poweroff'
GRUB = pathlib.Path('/usr/lib/grub/i386-pc')
OVMF = pathlib.Path('/usr/share/OVMF')
SECTOR = 512
PARTITION_AT = 1 << 20


class Skipped(Exception):
    pass


class Failed(Exception):
    pass


def kernel(setting, folder):
    return ['-kernel', f'{setting.files}/vmlinuz', '-initrd', f'{setting.files}/initrd.gz',
            '-append', APPEND]


def tool(name, package):
    path = shutil.which(name) or shutil.which(name, path='/usr/sbin:/sbin')
    if not path:
        raise Skipped(f'no {name} ({package})')
    return path


def disk(setting, folder):
    """A disk as an installer leaves it: GRUB behind the MBR, a partition with kernel and initrd."""
    mke2fs, mkimage = tool('mke2fs', 'e2fsprogs'), tool('grub-mkimage', 'grub-common')
    if not (GRUB / 'boot.img').exists():
        raise Skipped(f'no {GRUB}/boot.img (grub-pc-bin)')
    tree = folder / 'tree'
    (tree / 'boot/grub').mkdir(parents=True)
    for name in ('vmlinuz', 'initrd.gz'):
        shutil.copy(f'{setting.files}/{name}', tree / 'boot')
    (tree / 'boot/grub/grub.cfg').write_text(
        f'linux /boot/vmlinuz {APPEND}\ninitrd /boot/initrd.gz\nboot\n')
    size = 64 << 20
    partition, image = folder / 'partition', folder / 'disk'
    subprocess.run([mke2fs, '-q', '-t', 'ext2', '-d', tree, partition, f'{size >> 10}k'],
                   check=True, stdout=subprocess.DEVNULL)
    core = folder / 'core.img'
    subprocess.run([mkimage, '-d', GRUB, '-O', 'i386-pc', '-p', '(hd0,msdos1)/boot/grub',
                    '-o', core, 'biosdisk', 'part_msdos', 'ext2', 'linux', 'normal'], check=True)
    sector = bytearray((GRUB / 'boot.img').read_bytes()[:SECTOR])
    # One active partition of Linux; GRUB's first sector expects its second at sector 1.
    table = struct.pack('<B3xB3xII', 0x80, 0x83, PARTITION_AT // SECTOR, size // SECTOR)
    sector[446:510] = table.ljust(64, b'\0')
    with image.open('wb') as out:
        out.write(sector)
        out.write(core.read_bytes())
        out.seek(PARTITION_AT)
        out.write(partition.read_bytes())
    return ['-drive', f'file={image},format=raw,if=virtio']


def flash(folder, code, variables):
    if not (OVMF / code).exists():
        raise Skipped(f'no {OVMF / code} (ovmf)')
    shutil.copy(OVMF / variables, folder / 'vars')
    return ['-drive', f'if=pflash,format=raw,readonly=on,file={OVMF / code}',
            '-drive', f'if=pflash,format=raw,file={folder}/vars']


def ovmf(setting, folder):
    return [*flash(folder, 'OVMF_CODE_4M.fd', 'OVMF_VARS_4M.fd'), *kernel(setting, folder)]


def sev(setting, folder):
    """The 4M builds start in 32 bits, where OVMF has no SEV."""
    return ['-object', 'sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x1',
            *flash(folder, 'OVMF_CODE.fd', 'OVMF_VARS.fd'), *kernel(setting, folder)]


# Options of softkvm.
OPTIONS = {'model-amd': ['--cpu=amd'], 'model-x86-64': ['--cpu=x86-64'],
           'sev': ['--sev'], 'sev-four': ['--sev']}
# What the guest must have said.
SAYS = {'sev': 'Memory Encryption Features active: AMD SEV',
        'sev-four': 'Memory Encryption Features active: AMD SEV'}
BARE = ('-nodefaults',)
# The kernel's check of the C-bit takes RDRAND.
SEV = ('-machine', 'q35,confidential-guest-support=sev0', '-cpu', 'max', *BARE)
# Name: the processors, arguments, and what the guest is booted from.
CASES = {
    'pc': (2, ('-machine', 'pc'), kernel),
    'q35': (2, ('-machine', 'q35'), kernel),
    'one': (1, ('-machine', 'pc', *BARE), kernel),
    'four': (4, ('-machine', 'q35', *BARE), kernel),
    'irqchip-off': (1, ('-machine', 'pc,kernel-irqchip=off', *BARE), kernel),
    'irqchip-split': (2, ('-machine', 'q35,kernel-irqchip=split', *BARE), kernel),
    'cpu-host': (1, ('-cpu', 'host', *BARE), kernel),
    'cpu-max': (2, ('-cpu', 'max', *BARE), kernel),
    'cpu-qemu64': (1, ('-cpu', 'qemu64', *BARE), kernel),
    'cpu-kvm64': (1, ('-cpu', 'kvm64', *BARE), kernel),
    'cpu-epyc': (1, ('-cpu', 'EPYC', *BARE), kernel),
    'model-amd': (1, ('-cpu', 'max', *BARE), kernel),
    'model-x86-64': (1, ('-cpu', 'max', *BARE), kernel),
    'microvm': (1, ('-machine', 'microvm', *BARE), kernel),
    'disk': (1, ('-machine', 'pc'), disk),
    'ovmf': (1, ('-machine', 'q35', *BARE), ovmf),
    'sev': (1, SEV, sev),
    'sev-four': (4, SEV, sev),
}


def qemu(accelerator, cpus, arguments):
    return [QEMU, '-accel', accelerator, '-smp', str(cpus), '-m', '512', '-display', 'none',
            '-serial', 'stdio', '-no-reboot', *arguments]


def boot(command, cpus):
    """Seconds to its end, which is soon after /init."""
    start = time.monotonic()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors='replace', timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise Failed(f'no end in {TIMEOUT} s: {(error.stdout or b"")[-500:]!r}') from error
    seconds = time.monotonic() - start
    tail = f'{done.stdout[-1500:]}\n{done.stderr[-1500:]}'
    if done.returncode:
        raise Failed(f'status {done.returncode}: {tail}')
    if not re.search(rf'^cloister-init: .* {cpus} CPU', done.stdout, re.M):
        raise Failed(f'/init was not reached with {cpus} CPU(s): {tail}')
    if 'reboot: Power down' not in done.stdout:
        raise Failed(f'it did not power off: {tail}')
    return seconds, done.stdout


def run_case(setting, name):
    cpus, machine, source = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*machine, *source(setting, pathlib.Path(folder))]
        launcher = [f'{setting.build}/softkvm', *OPTIONS.get(name, ())]
        seconds, console = boot([*launcher, *qemu('kvm', cpus, arguments)], cpus)
        for words in ('Hypervisor detected: KVM', SAYS.get(name, '')):
            if words not in console:
                raise Failed(f'the guest did not say {words!r}: {console[:2000]}')
        return seconds


def compare(setting, rounds=3):
    """Medians of the same boots in turn."""
    arguments = ['-machine', 'q35', *BARE, *kernel(setting, None)]
    softkvm, tcg = [], []
    for _ in range(rounds):
        softkvm.append(boot([f'{setting.build}/softkvm', *qemu('kvm', 1, arguments)], 1)[0])
        tcg.append(boot(qemu('tcg', 1, arguments), 1)[0])
    ours, theirs = statistics.median(softkvm), statistics.median(tcg)
    print(f'q35, from start to end: softkvm {ours:.2f} s, -accel tcg {theirs:.2f} s, '
          f'ratio {ours / theirs:.2f}')


def lacks(setting):
    if not shutil.which(QEMU):
        return f'no {QEMU} (qemu-system-x86)'
    for name in ('vmlinuz', 'initrd.gz'):
        if not os.path.exists(f'{setting.files}/{name}'):
            return f'no {setting.files}/{name}: make guest-files'
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default='build')
    parser.add_argument('--files', default='build/guest')
    parser.add_argument('--compare', action='store_true')
    parser.add_argument('cases', nargs='*', metavar='CASE', help=', '.join(CASES))
    setting = parser.parse_args()
    unknown = set(setting.cases) - set(CASES)
    if unknown:
        parser.error(f'no such case: {", ".join(unknown)}; there are {", ".join(CASES)}')
    why = lacks(setting)
    if why:
        print(f'skipped: {why}')
        return EXIT_SKIP
    failed = ran = 0
    for name in setting.cases or CASES:
        try:
            print(f'{name:16} passed  {run_case(setting, name):6.1f} s', flush=True)
            ran += 1
        except Skipped as reason:
            print(f'{name:16} skipped: {reason}', flush=True)
        except Failed as reason:
            print(f'{name:16} FAILED: {reason}', flush=True)
            failed += 1
    if setting.compare:
        with contextlib.suppress(KeyboardInterrupt):
            compare(setting)
    return 1 if failed else 0 if ran else EXIT_SKIP


if __name__ == '__main__':
    sys.exit(main())
