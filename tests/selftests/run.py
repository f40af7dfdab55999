#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's KVM selftests, built unmodified and run under `softkvm`.

Their source is Debian's package linux-source-6.12 (installed if it is missing),
unpacked and built below --work, outside of the project.  Prints a line per
test, passed, failed or skipped with the reason, then the sums.  Exit status 0:
no test of tests/selftests/passing failed.

--kernel runs them on the machine's own /dev/kvm instead, to compare.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

PACKAGE = 'linux-source-6.12'
ARCHIVE = pathlib.Path('/usr/src') / (PACKAGE + '.tar.xz')
NEEDED = ('Makefile', 'Kbuild', 'Kconfig', 'arch/x86', 'include', 'scripts', 'tools', 'usr',
          'virt')
BUILD_PACKAGES = ('gcc', 'make', 'bison', 'flex', 'rsync', 'xz-utils', 'libcap-dev')
SKIP_STATUS = 4         # KSFT_SKIP
HERE = pathlib.Path(__file__).resolve().parent

# Options of softkvm for tests that ask for less than they use.
OPTIONS = {
    'x86_64/state_test': (['--cpu=max,-xsave'],
                          'it runs VMOVDQU, of AVX, wherever there is XSAVE; softkvm has no AVX'),
    'x86_64/sev_init2_tests': (['--sev'], 'SEV is there if asked for'),
    'x86_64/sev_migrate_tests': (['--sev'], 'SEV is there if asked for'),
    'x86_64/sev_smoke_test': (['--sev'], 'SEV is there if asked for'),
}


def say(text):
    print(text, flush=True)


def install_source():
    if ARCHIVE.exists():
        return
    sudo = [] if os.getuid() == 0 else ['sudo']
    say(f'installing {PACKAGE}')
    subprocess.run([*sudo, 'apt-get', 'update', '-qq'], check=True)
    subprocess.run([*sudo, 'apt-get', 'install', '-y', '-qq', '--no-install-recommends', PACKAGE,
                    *BUILD_PACKAGES], check=True, stdout=subprocess.DEVNULL)


def build(work, jobs):
    """The folder of the built tests."""
    source = work / PACKAGE
    tests = source / 'tools/testing/selftests/kvm'
    if (work / 'built').exists():
        return tests
    install_source()
    shutil.rmtree(source, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    log = work / 'build.log'
    say(f'unpacking and building below {work} (some minutes; {log})')
    with open(log, 'w') as out:
        steps = (['tar', 'xf', ARCHIVE, '-C', work, *(f'{PACKAGE}/{n}' for n in NEEDED)],
                 ['make', '-s', '-C', source, 'headers'],
                 ['make', f'-j{jobs}', '-C', tests])
        for step in steps:
            if subprocess.run(['nice', *step], stdout=out, stderr=out).returncode:
                sys.exit(f'selftests: {" ".join(map(str, step))} failed, see {log}')
    (work / 'built').touch()
    return tests


def programs(tests):
    return sorted(str(path.relative_to(tests))
                  for folder in (tests, tests / 'x86_64') for path in folder.iterdir()
                  if path.is_file() and not path.suffix and os.access(path, os.X_OK))


def reason(output):
    """What a test says of its failure or skip, in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for i, line in enumerate(lines):
        if 'Test Assertion Failure' in line:
            where = lines[i + 1] if i + 1 < len(lines) else ''
            rest = [x for x in lines[i + 2:] if not re.match(r'\d+\t|\(stack|pid=|\?\?', x)]
            return f'{where}: {rest[0] if rest else ""}'
    for line in lines:
        found = re.search(r'1\.\.0 # SKIP\s*(.*)|(.*)[Ss]kipping', line)
        if found:
            return (found.group(1) or line).strip(' -')
    failed = [line for line in lines if line.startswith('not ok') or ': Failure' in line]
    if failed:
        return failed[0]
    return lines[-1] if lines else ''


class Runner:
    def __init__(self, tests, launcher, timeout, logs):
        self.tests, self.launcher, self.timeout, self.logs = tests, launcher, timeout, logs

    def command(self, program):
        options = OPTIONS[program][0] if self.launcher and program in OPTIONS else []
        return ['nice', *self.launcher, *options, './' + program]

    def __call__(self, program):
        """(program, verdict, reason, seconds); the output goes to a file in logs."""
        before = time.monotonic()
        log = self.logs / (program.replace('/', '-') + '.log')
        with open(log, 'w') as out:
            process = subprocess.Popen(self.command(program), cwd=self.tests, stdout=out,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       start_new_session=True)
            try:
                status = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                status = None
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        output = log.read_text(errors='replace')
        seconds = time.monotonic() - before
        if status == 0:
            return program, 'passed', '', seconds
        if status == SKIP_STATUS:
            return program, 'skipped', reason(output), seconds
        why = f'no end after {self.timeout} s' if status is None else \
            f'signal {signal.Signals(-status).name}' if status < 0 else ''
        return program, 'failed', '; '.join(x for x in (why, reason(output)) if x), seconds


def expected():
    lines = (HERE / 'passing').read_text().splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith('#')}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--launcher', default='build/softkvm')
    parser.add_argument('--kernel', action='store_true', help="the machine's own /dev/kvm")
    parser.add_argument('--in-place', action='store_true')
    parser.add_argument('--work', type=pathlib.Path, default=pathlib.Path(
        os.environ.get('XDG_CACHE_HOME', pathlib.Path.home() / '.cache')) / 'softkvm-selftests')
    parser.add_argument('--timeout', type=int, default=300, help='seconds for each test')
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    parser.add_argument('tests', nargs='*', help='parts of names; all if there are none')
    args = parser.parse_args()

    # guest_memfd_test of 6.12 knows of no flag, and wants each refused.
    launcher = [] if args.kernel else [os.path.abspath(args.launcher), '--no-gmem-flags']
    if args.in_place:
        launcher.append('--in-place')
    folder = build(args.work.resolve(), args.jobs)
    logs = args.work.resolve() / 'logs'
    logs.mkdir(exist_ok=True)
    names = [p for p in programs(folder)
             if not args.tests or any(part in p for part in args.tests)]
    for program in OPTIONS if launcher else ():
        if program in names:
            options, why = OPTIONS[program]
            say(f'{program} with {" ".join(options)}: {why}')
    runner = Runner(folder, launcher, args.timeout, logs)
    sums = {'passed': 0, 'failed': 0, 'skipped': 0}
    broken = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for program, verdict, why, seconds in pool.map(runner, names):
            sums[verdict] += 1
            say(f'{program:48} {verdict:8} {seconds:6.1f} s  {why[:150]}'.rstrip())
            if verdict == 'failed' and program in expected():
                broken.append(program)
    say(', '.join(f'{n} {verdict}' for verdict, n in sums.items()) + f' of {len(names)}')
    if broken and not args.kernel:
        say('these are expected to pass: ' + ' '.join(broken))
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
