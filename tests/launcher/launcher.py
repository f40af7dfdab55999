#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`softkvm` as its users see it: programs on it, what it refuses, what it leaves alone.

launcher.py BUILD BINDIR LIBDIR, Test Anything Protocol; the folders, below a prefix, are
those that `make install` fills.  Needs a C compiler for a program
without dynamic loader; that case is skipped without.
"""
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(sys.argv[1]).resolve()
INSTALLED = sys.argv[2:4]
LAUNCHER = str(BUILD / 'softkvm')
PROBE = str(BUILD / 'tests/launcher/launcher_probe')
CASES = []


class Skipped(Exception):
    pass


def case(function):
    CASES.append(function)
    return function


def run(*command, status=0, **options):
    """Its standard output and error."""
    done = subprocess.run([LAUNCHER, *map(str, command)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                          **options)
    assert done.returncode == status, f'status {done.returncode}: {done.stdout}{done.stderr}'
    return done.stdout, done.stderr


def probe(what, *options):
    """Says itself what is wrong."""
    return run(*options, PROBE, what)


def kvm_program(name, *options):
    """The KVM-API tests open /dev/kvm with --kernel; what they get must be softkvm."""
    out, _ = run(*options, BUILD / f'tests/kvm/test_kvm_{name}', '--kernel')
    assert re.search(r'^ok ', out, re.M), out
    assert not re.search(r'^not ok', out, re.M), out


@case
def kvm_programs():
    for name in ('more', 'run', 'state'):
        kvm_program(name)


@case
def kvm_memory_programs():
    kvm_program('memory')
    kvm_program('memory', '--in-place')


@case
def device():
    probe('device')


@case
def installed_tree_anywhere():
    """As after `make install DESTDIR=...`: not where the prefix says."""
    with tempfile.TemporaryDirectory() as folder:
        bindir, libdir = (pathlib.Path(folder, name) for name in INSTALLED)
        bindir.mkdir(parents=True)
        libdir.mkdir(parents=True)
        program = shutil.copy(LAUNCHER, bindir)
        shutil.copy(BUILD / 'libsoftkvm-preload.so', libdir)
        done = subprocess.run([program, PROBE, 'device'], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@case
def descriptors():
    probe('descriptors')


@case
def guest_memfd():
    probe('guest_memfd')


@case
def other_ways_to_move_data():
    probe('transfers')


@case
def mappings_that_change():
    probe('remap', '--in-place')
    probe('protect', '--in-place')


@case
def in_place():
    probe('in-place', '--in-place')
    probe('in-place', '--gmem-in-place-conversion=Y')
    probe('attributes-per-vm', '--gmem_in_place_conversion=N')
    probe('attributes-per-vm', '--memory-attributes=vm')
    probe('in-place', '--memory-attributes=guest-memfd')
    probe('vm2', '--memory-attributes=vm2')
    assert "not 'vm3'" in run('--memory-attributes=vm3', 'true', status=125)[1]
    assert 'exclude' in run('--memory-attributes=vm2', '--in-place', 'true', status=125)[1]


@case
def failures_on_request():
    output = run('--fail=KVM_CREATE_VM:1:EMFILE', PROBE, 'attributes-per-vm', status=1)
    assert '(errno 24)' in output[1], output
    probe('attributes-per-vm', '--fail=KVM_CREATE_VM:2:EMFILE')
    probe('pinned', '--in-place', '--pin=0x1000+0x2000:2')
    for wrong in '--fail=KVM_NONSENSE:1', '--fail=KVM_RUN', '--pin=x', '--pin=5':
        assert 'see softkvm(1)' in run(wrong, 'true', status=125)[1]


@case
def fork():
    probe('fork')


@case
def calls_by_number():
    probe('by-number')


@case
def vfork():
    probe('vfork')


@case
def what_files_have():
    probe('files')


@case
def exec_passes_it_on():
    run('/bin/sh', '-c', f'{PROBE} device')


@case
def threads():
    probe('threads')


def cpuid(model):
    """{'leaf.subleaf': [eax, ebx, ecx, edx]}"""
    lines = probe('cpuid', *([f'--cpu={model}'] if model else []))[0].splitlines()
    return {leaf: [int(x, 16) for x in registers.split()]
            for leaf, registers in (line.split(': ') for line in lines)}


@case
def sev_if_asked_for():
    look = 'test -c /dev/sev && echo there; cat /sys/module/kvm_amd/parameters/sev'
    assert run('/bin/sh', '-c', look)[0] == 'N\n'
    assert run('--sev', '/bin/sh', '-c', look)[0] == 'there\nY\n'
    lines = probe('cpuid', '--sev')[0].splitlines()
    assert '8000001f.0: 00000002 00000033 000001fd 00000001' in lines, lines
    platform = f'--sev-platform={LAUNCHER}'       # too large
    assert 'must be a file of 32 to' in run(platform, 'true', status=125)[1]
    assert 'No such file' in run(platform + '-none', 'true', status=125)[1]
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(32))
        file.flush()
        assert run(f'--sev-platform={file.name}', '/bin/sh', '-c', look)[0] == 'there\nY\n'
    killed = -signal.SIGILL
    without = run(PROBE, 'machine-cpuid', status=killed)[0]
    *sev, virtualization = without.split()
    with_sev = run('--sev', PROBE, 'machine-cpuid', status=killed)[0]
    assert with_sev.split() == ['1', '2', '33', '1fd', virtualization]
    with_it = run('--cpuid-virtualization', PROBE, 'machine-cpuid', status=killed)[0]
    assert with_it.split() == sev + ['1']
    alone = subprocess.run([PROBE, 'machine-cpuid'], capture_output=True, text=True)
    assert (alone.returncode, alone.stdout) == (killed, without)


@case
def cpu_models():
    eax, ebx, ecx, edx = range(4)
    intel, amd = 0x756e6547, 0x68747541
    everything = cpuid(None)
    assert everything == cpuid('max') == cpuid('amd,vendor=intel') != cpuid('amd')
    assert everything['0.0'][ebx] == intel and '4.0' in everything
    other = cpuid('amd')
    assert other['0.0'][ebx] == other['80000000.0'][ebx] == amd and '4.0' not in other
    assert other['80000001.0'][edx] & 1 and not everything['80000001.0'][edx] & 1
    assert other['1.0'][ecx] == everything['1.0'][ecx]
    smaller, smallest = cpuid('x86-64-v2'), cpuid('x86-64')
    sse4, xsave, rdrand = 3 << 19, 1 << 26, 1 << 30
    assert everything['1.0'][ecx] & (sse4 | xsave | rdrand) == sse4 | xsave | rdrand
    assert smaller['1.0'][ecx] & (sse4 | xsave | rdrand) == sse4 and 'd.0' not in smaller
    assert smallest['1.0'][ecx] & (sse4 | xsave | rdrand) == 0 and smallest['7.0'][ebx] == 0
    assert cpuid('x86-64,+rdrand')['1.0'][ecx] & (sse4 | rdrand) == rdrand
    assert cpuid('max,-sse4.1,-sse4.2')['1.0'][ecx] & sse4 == 0
    for wrong in ('', 'i486', 'max,', 'max,avx', 'max,+avx', 'max,+', 'max,vendor=via', ',',
                  'max' + ',-smep' * 100):
        _, err = run(f'--cpu={wrong}', 'true', status=125)
        assert err.startswith('softkvm: --cpu') and err.count('\n') == 1, err


@case
def module_parameters():
    base = '/sys/module/kvm/parameters/'
    assert run('cat', base + 'force_emulation_prefix')[0] == '0\n'
    assert run('cat', base + 'gmem_in_place_conversion')[0] == 'N\n'
    assert run('--in-place', 'cat', base + 'gmem_in_place_conversion')[0] == 'Y\n'
    assert 'No such file' in run('cat', base + 'no_such', status=1)[1]
    probe('parameters')


@case
def other_files():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'file'
        run('sh', '-c', f'echo written > {path}; echo more >> {path}; ln -s file {folder}/link')
        assert path.read_text() == 'written\nmore\n'
        assert run('cat', f'{folder}/link')[0] == 'written\nmore\n'
        run('cp', path, f'{folder}/copy')
        run('dd', f'if={path}', f'of={folder}/dd', 'bs=3', 'conv=notrunc')
        run('fallocate', '-l', '8192', f'{folder}/big')
        run('truncate', '-s', '5', f'{folder}/copy')
        assert (pathlib.Path(folder) / 'dd').read_text() == 'written\nmore\n'
        assert (pathlib.Path(folder) / 'copy').read_text() == 'writt'
        assert (pathlib.Path(folder) / 'big').stat().st_size == 8192
        assert 'No such file' in run('cat', f'{folder}/missing', status=1)[1]
    script = 'import mmap, os; m = mmap.mmap(-1, 4096); m[0] = 7; m.close(); print(os.getpid() > 0)'
    assert run('python3', '-c', script)[0] == 'True\n'


@case
def status_and_arguments():
    run('sh', '-c', 'exit 3', status=3)
    assert run('printf', '%s|', '--trace', 'a b')[0] == '--trace|a b|'
    assert run('sh', '-c', 'kill -9 $$', status=-9)


@case
def trace():
    _, err = probe('device', '--trace')
    for expected in ('system [0-9]+ KVM_GET_API_VERSION = 12',
                     'KVM_CHECK_EXTENSION KVM_CAP_USER_MEMORY = 1', 'KVM_CREATE_VM 0 = [0-9]+',
                     'open [0-9]+ = '):
        assert re.search(expected, err), f'{expected} is not in: {err}'
    _, err = run('--trace', PROBE, 'run')
    assert re.search('vcpu [0-9]+ KVM_RUN = 0 KVM_EXIT_HLT', err), err
    assert re.search('vm [0-9]+ ioctl 0x[0-9a-f]+ = -ENOTTY', err), err


@case
def trace_into_a_file():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'trace'
        path.write_text('of old\n')
        out, err = run(f'--trace={path}', 'sh', '-c', f'cd /; {PROBE} run; {PROBE} guest_memfd')
        assert not out and not err, err
        lines = path.read_text()
        for expected in ('^softkvm: [0-9]+ open', 'KVM_CREATE_VM 0 = ', 'KVM_RUN = 0 KVM_EXIT_HLT',
                         'REGION slot 0 at 0xffff0000-0xffffffff from 0x[0-9a-f]+ = 0',
                         'KVM_CREATE_GUEST_MEMFD size 0x4000 mmap init-shared = [0-9]+'):
            assert re.search(expected, lines, re.M), f'{expected} is not in: {lines}'
        assert 'of old' not in lines
        _, err = run(f'--trace={folder}/no/such', 'true', status=125)
        assert 'No such file' in err and err.count('\n') == 1, err
        kvm_program('memory', f'--trace={path}')
        lines = path.read_text()
        for expected in ('KVM_SET_MEMORY_ATTRIBUTES at 0x[0-9a-f]+-0x[0-9a-f]+ to private = 0',
                         'KVM_EXIT_MEMORY_FAULT wants (private|shared) 0x', 'guest_memfd [0-9]+ . 0x',
                         'bad address'):
            assert re.search(expected, lines), f'{expected} is not in the trace'
        kvm_program('run', f'--trace={path}')
        assert re.search('KVM_EXIT_IO out 0x[0-9a-f]+ size [124]', path.read_text())


@case
def stats():
    _, err = run('--stats', PROBE, 'run')
    assert re.search(r'KVM_RUN +1 calls +0 errors', err), err
    assert re.search(r'KVM_EXIT_HLT +1 exits', err), err
    assert probe('device')[1] == ''


@case
def refuses_static_programs():
    compiler = shutil.which('cc') or shutil.which('gcc')
    if not compiler:
        raise Skipped('no C compiler')
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / 'static.c'
        source.write_text('void _start(void) { for (;;); }\n')
        for options in (['-static'], ['-static-pie']):
            subprocess.run([compiler, '-nostdlib', *options, '-o', f'{folder}/static', source],
                           check=True)
            _, err = run(f'{folder}/static', status=126)
            assert 'is statically linked' in err and err.count('\n') == 1, err


@case
def refuses_other_loaders():
    program = bytearray(pathlib.Path(PROBE).read_bytes())
    at = program.index(b'ld-linux-x86-64.so.2')
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'other'
        program[at:at + 7] = b'ld-musl'
        path.write_bytes(program)
        path.chmod(0o755)
        _, err = run(path, 'device', status=126)
        assert 'another C library' in err and err.count('\n') == 1, err
        program[18] = 3                 # e_machine: 32-bit x86
        path.write_bytes(program)
        _, err = run(path, status=126)
        assert 'another kind of machine' in err and err.count('\n') == 1, err


@case
def other_preloaded_objects_stay():
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(BUILD / 'libsoftkvm-preload.so', f'{folder}/other.so')
        environment = dict(os.environ, LD_PRELOAD=str(copy))
        out, _ = run('sh', '-c', 'echo $LD_PRELOAD', env=environment)
        assert out.strip() == f'{BUILD}/libsoftkvm-preload.so:{copy}', out
        run(PROBE, 'device', env=environment)


@case
def refuses_setuid_programs():
    if os.getuid() != 0:
        raise Skipped('only root can make a file of another owner')
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'setuid'
        shutil.copy('/bin/true', path)
        os.chown(path, 65534, 65534)
        run(path)
        for bit in (stat.S_ISUID, stat.S_ISGID):
            path.chmod(0o755 | bit)
            _, err = run(path, status=126)
            assert 'is set-user-ID or set-group-ID' in err and err.count('\n') == 1, err


@case
def refuses_what_is_no_program():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'text'
        path.write_text('hello\n')
        path.chmod(0o755)
        assert 'neither an ELF program nor a script' in run(path, status=126)[1]
        for size in (0, 3, 20, 63, 64):
            path.write_bytes(pathlib.Path(PROBE).read_bytes()[:size])
            assert run(path, status=126)[1].count('\n') == 1
        path.write_text('#!/bin/sh\necho from a script\n')
        assert run(path)[0] == 'from a script\n'
        path.write_text('#! \n')
        assert 'interpreter' in run(path, status=126)[1]
    run('/nonexistent/program', status=127)
    run('no-such-program-anywhere', status=127)
    run('/etc/passwd', status=126)
    run('/tmp', status=126)


@case
def options():
    assert '--in-place' in run('--help')[0]
    assert run('--version')[0].startswith('softkvm ')
    assert 'which program' in run(status=125)[1]
    run('--no-such-option', 'true', status=125)
    assert "not 'maybe'" in run('--gmem-in-place-conversion=maybe', 'true', status=125)[1]


def main():
    failed = 0
    print(f'1..{len(CASES)}')
    for number, function in enumerate(CASES, 1):
        name = function.__name__.replace('_', ' ')
        try:
            function()
            print(f'ok {number} - {name}')
        except Skipped as why:
            print(f'ok {number} - {name} # SKIP {why}')
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            failed += 1
            print('# ' + str(error).replace('\n', '\n# '))
            print(f'not ok {number} - {name}')
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
