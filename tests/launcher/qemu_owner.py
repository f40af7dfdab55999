#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""qemu_owner.py --build BUILD --files FOLDER: the owner of a SEV guest that QEMU runs on softkvm.

A session for the platform's key, the measurement of OVMF computed anew, a secret into the
place that OVMF has for it, by QEMU's own commands; then the guest boots.  FOLDER has vmlinuz
and initrd.gz (make guest-files); status 77 where something lacks.
"""
import argparse
import base64
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'tools'))

from cloister_vm import Qmp, VmError                                            # noqa: E402
import sev_owner                                                                # noqa: E402
import qemu                                                                     # noqa: E402

POLICY = 0x1
API, BUILD_ID = (0, 24), 1


def encoded(data):
    return base64.b64encode(data).decode()


class Guest:
    """QEMU, stopped before its guest's first instruction."""

    def __init__(self, setting, folder, *arguments):
        socket = folder / 'qmp'
        self.process = subprocess.Popen(
            [f'{setting.build}/softkvm', f'--sev-platform={folder}/platform',
             *qemu.qemu('kvm', 1, arguments), '-S', '-qmp', f'unix:{socket},server=on,wait=off'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            self.qmp = Qmp(str(socket), timeout=60)
        except (VmError, OSError) as error:
            self.process.kill()
            raise qemu.Failed(f'{error}: {self.process.communicate()[0]!r}') from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def console(self):
        """All of it, to the end."""
        return self.process.communicate(timeout=qemu.TIMEOUT)[0].decode('utf-8', 'replace')


def refused(guest, words, **arguments):
    reply = guest.qmp.execute('sev-inject-launch-secret', **arguments)
    if words not in reply.get('error', {}).get('desc', ''):
        raise qemu.Failed(f'not refused with {words!r}: {reply}')


def inject(guest, tek, tik, blob):
    """A packet for another measurement first, which the firmware refuses."""
    for measure in (bytes(32), blob):
        header, data = sev_owner.make_secret(tek, tik, measure, b'what only the guest may know')
        packet = {'packet-header': encoded(header), 'secret': encoded(data)}
        if measure != blob:
            refused(guest, 'Bad measurement', **packet)
    guest.qmp.command('sev-inject-launch-secret', **packet)


def run(setting, folder):
    (folder / 'platform').write_bytes(os.urandom(32))
    with Guest(setting, folder, *qemu.BARE) as guest:
        able = guest.qmp.command('query-sev-capabilities')
    if (able['cbitpos'], able['reduced-phys-bits']) != (51, 1):
        raise qemu.Failed(f'query-sev-capabilities: {able}')
    cert, session, tek, tik = sev_owner.make_session(base64.b64decode(able['pdh']), POLICY)
    (folder / 'godh').write_text(encoded(cert))
    (folder / 'session').write_text(encoded(session))
    arguments = [*qemu.SEV, *qemu.sev(setting, folder)]
    at = arguments.index('-object') + 1
    arguments[at] += f',dh-cert-file={folder}/godh,session-file={folder}/session'
    with Guest(setting, folder, *arguments) as guest:
        blob = base64.b64decode(guest.qmp.command('query-sev-launch-measure')['data'])
        digest = hashlib.sha256((qemu.OVMF / 'OVMF_CODE.fd').read_bytes()).digest()
        if blob[:32] != sev_owner.measurement(tik, API, BUILD_ID, POLICY, digest, blob[32:]):
            raise qemu.Failed("the measurement isn't what its owner computes")
        inject(guest, tek, tik, blob)
        guest.qmp.command('cont')
        console = guest.console()
    if 'Memory Encryption Features active: AMD SEV' not in console or \
            'reboot: Power down' not in console:
        raise qemu.Failed(f'it did not boot: {console[-1500:]}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default='build')
    parser.add_argument('--files', default='build/guest')
    setting = parser.parse_args()
    why = qemu.lacks(setting)
    if why:
        print(f'skipped: {why}')
        return qemu.EXIT_SKIP
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(setting, pathlib.Path(folder))
        except qemu.Skipped as reason:
            print(f'sev-owner        skipped: {reason}')
            return qemu.EXIT_SKIP
        except (qemu.Failed, VmError, subprocess.TimeoutExpired) as reason:
            print(f'sev-owner        FAILED: {reason}')
            return 1
    print('sev-owner        passed')
    return 0


if __name__ == '__main__':
    sys.exit(main())
