# SPDX-License-Identifier: LGPL-2.1-or-later
"""console.py --binary CLOISTER --guests FOLDER: a person at a terminal with -nographic."""
import argparse
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

from dialogue import ESCAPES, TIMEOUT, guest_arguments


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Terminal:
    """cloister on a pseudo-terminal that is its controlling one."""

    def __init__(self, options, arguments):
        self.master, self.slave = pty.openpty()
        self.shown = ""
        self.before = termios.tcgetattr(self.slave)
        command = [options.binary, *guest_arguments(options.guests, []), *arguments]
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, start_new_session=True,
                                        preexec_fn=self.take_terminal)

    def take_terminal(self):
        """In the child: the terminal is its controlling one, as after a login."""
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def wait_for(self, pattern):
        deadline = time.monotonic() + TIMEOUT
        while not re.search(pattern, self.shown):
            expect(time.monotonic() < deadline, f"no {pattern!r} in {self.shown!r}")
            if select.select([self.master], [], [], 0.2)[0]:
                # The terminal makes CR LF of our LF, beside the CR that goes to any stream.
                self.shown += ESCAPES.sub("", os.read(self.master, 65536).decode())
                self.shown = re.sub("\r+\n", "\r\n", self.shown)
        self.shown = self.shown[re.search(pattern, self.shown).end():]

    def press(self, keys):
        os.write(self.master, keys.encode())

    def mode(self):
        """Input, output and local flags."""
        return [termios.tcgetattr(self.slave)[i] for i in (0, 1, 3)]

    def wait_raw(self):
        deadline = time.monotonic() + TIMEOUT
        while self.mode()[2] & (termios.ICANON | termios.ECHO):
            expect(time.monotonic() < deadline, "the terminal is raw")
            time.sleep(0.02)

    def end(self, status):
        expect(self.process.wait(TIMEOUT) == status, f"exit status {self.process.returncode}")
        expect(self.mode() == [self.before[i] for i in (0, 1, 3)], "the terminal is put back")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def check_keys(terminal):
    terminal.press("\x01h")
    terminal.wait_for(r"C-a c +switch between console and monitor\r\n")
    terminal.press("\x01c")
    terminal.wait_for(r"monitor - type 'help' for more information\r\n\(qemu\) ")
    terminal.press("info stauts\x1b[D\x1b[D\x1b[D\x7ft\x1b[Ca\x7f\x7fu\r")
    terminal.wait_for(r"unknown command: .*\r\n\(qemu\) ")
    terminal.press("info stat\t\r")
    terminal.wait_for(r"VM status: paused \(prelaunch\)\r\n\(qemu\) ")
    terminal.press("\x01c\x01c")
    terminal.wait_for(r"\(qemu\) ")
    terminal.press("\x03")                      # Ctrl-C doesn't end it
    terminal.wait_for(r"\^C\r\n\(qemu\) ")
    terminal.press("\x01x")
    terminal.wait_for("cloister: terminated\r\n")
    terminal.end(0)


def check_quit(terminal):
    terminal.press("\x01cquit\r")
    terminal.end(0)


def check_signal(terminal):
    terminal.press("\x01c")
    terminal.wait_for(r"\(qemu\) ")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.wait_for("terminating on signal 15 from pid")
    terminal.end(0)


def check_continue_makes_it_raw_again(terminal):
    terminal.press("\x01c")
    terminal.wait_for(r"\(qemu\) ")
    terminal.process.send_signal(signal.SIGSTOP)
    termios.tcsetattr(terminal.slave, termios.TCSANOW, terminal.before)     # as a shell does
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait_raw()
    terminal.press("quit\r")
    terminal.end(0)


CHECKS = (check_keys, check_quit, check_signal, check_continue_makes_it_raw_again)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    options = parser.parse_args()
    for check in CHECKS:
        terminal = Terminal(options, ["-nographic"])
        try:
            terminal.wait_raw()
            check(terminal)
            print(f"{check.__name__}: ok", flush=True)
        finally:
            terminal.close()


if __name__ == "__main__":
    sys.exit(main())
