# SPDX-License-Identifier: LGPL-2.1-or-later
"""dialogue.py --binary CLOISTER --guests FOLDER FILE...: talk to a real cloister.

A dialogue is a text file; its first comment says what it checks.

  args: ARGUMENTS       added to the command line (the guest is share.elf, stopped by -S)
  > TEXT                a line to QMP;  >> TEXT: without line end, with Python's escapes
  < JSON                the next message; "*" is any value, time stamps are left out
  << end                QMP's connection ends
  reconnect             close QMP's connection and make a new one
  (qemu) LINE           a line to HMP; the lines below it, up to the next blank one, are its
                        output; one that begins with ~ is a regular expression
  console REGEX         wait for the guest to print it;  type TEXT: a line to the guest
  exit STATUS           cloister ends with it

Exit status 0: all as recorded; 1: not.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError, protected        # noqa: E402

SLOWER = int(os.environ.get("TEST_SLOWER", "1"))
TIMEOUT = 30 * SLOWER
ESCAPES = re.compile(r"\x1b\[[0-9]*[A-Za-z]")
PROMPT = "(qemu) "


class Wrong(Exception):
    """The dialogue went another way."""


def connect(path):
    """A connection to a socket that may not be there yet."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(TIMEOUT)
        try:
            sock.connect(path)
            return sock
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if time.monotonic() > deadline:
                raise Wrong(f"no socket {path} after {TIMEOUT} s") from None
            time.sleep(0.02)


def matches(got, want):
    """Whether a JSON value is as wanted; "*" in the wanted one is anything."""
    if want == "*":
        return True
    if isinstance(want, dict) and isinstance(got, dict):
        return got.keys() == want.keys() and all(matches(got[k], want[k]) for k in want)
    if isinstance(want, list) and isinstance(got, list):
        return len(got) == len(want) and all(map(matches, got, want))
    return type(got) is type(want) and got == want


def guest_arguments(guests, arguments):
    """A protected VM with a guest that waits for keys, unless the arguments say otherwise."""
    command = [] if "-kernel" in arguments else [
        "-kernel", os.path.join(guests, "share.elf"), "-append", "step", "-S"]
    if "-accel" not in arguments:
        command += ["-accel", "soft"]
    if "-machine" not in arguments:
        command += protected("guest-memfd", "64M")
    return command + arguments


class Session:
    """One cloister with a QMP and an HMP socket; connections are made when first used."""

    def __init__(self, options, arguments):
        self.folder = tempfile.mkdtemp(prefix="cloister-")
        self.hmp_path = os.path.join(self.folder, "hmp.sock")
        self.sock = self.reader = self.hmp = None
        self.vm = Vm(options.binary, guest_arguments(options.guests, arguments) + [
            "-monitor", f"unix:{self.hmp_path},server=on,wait=off"])

    def close(self):
        for thing in (self.reader, self.sock, self.hmp, self.vm):
            if thing:
                thing.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- QMP ---

    def open_qmp(self):
        if not self.sock:
            self.sock = connect(self.vm.qmp_path)
            self.reader = self.sock.makefile("rb")

    def send(self, text):
        self.open_qmp()
        self.sock.sendall(text.encode() + b"\n")

    def send_raw(self, text):
        self.open_qmp()
        self.sock.sendall(text.encode().decode("unicode_escape").encode("latin-1"))

    def receive(self, text):
        self.open_qmp()
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise Wrong(f"wanted {text}, got {line!r}")
        got = json.loads(line)
        if isinstance(got, dict):
            got.pop("timestamp", None)
        if not matches(got, json.loads(text)):
            raise Wrong(f"wanted {text}\ngot    {line.decode().strip()}")

    def receive_end(self, _):
        self.open_qmp()
        rest = self.reader.read()
        if rest:
            raise Wrong(f"wanted the end, got {rest!r}")

    def reconnect(self, _):
        self.reader.close()
        self.sock.close()
        self.sock = None

    # --- HMP ---

    def hmp_until_prompt(self):
        """What is shown up to the next prompt."""
        text = ""
        while not text.endswith(PROMPT):
            data = self.hmp.recv(65536)
            if not data:
                raise Wrong(f"HMP ended after {text!r}")
            text = ESCAPES.sub("", text + data.decode())
        return text[:-len(PROMPT)].replace("\r\n", "\n")

    def ask_hmp(self, line, want):
        if not self.hmp:
            self.hmp = connect(self.hmp_path)
            banner = self.hmp_until_prompt()
            if "monitor - type 'help' for more information" not in banner:
                raise Wrong(f"HMP's banner is {banner!r}")
        self.hmp.sendall(line.encode() + b"\r")
        shown = self.hmp_until_prompt().splitlines()
        if not shown or shown[0] != line:
            raise Wrong(f"HMP echoes {shown[:1]}, not {line!r}")
        got = shown[1:]
        same = len(got) == len(want) and all(
            re.fullmatch(w[1:], g) if w.startswith("~") else w == g for g, w in zip(got, want))
        if not same:
            raise Wrong(f"{PROMPT}{line}\nwanted {want}\ngot    {got}")

    # --- The guest and the program ---

    def console(self, pattern):
        self.vm.wait_for(pattern, TIMEOUT)

    def type(self, text):
        self.vm.type(text + "\n")

    def exit(self, status):
        got = self.vm.wait_end(TIMEOUT)
        if got != int(status):
            raise Wrong(f"exit status {got}:\n{self.vm.errors()}")


STEPS = {
    ">": Session.send, ">>": Session.send_raw, "<": Session.receive, "<<": Session.receive_end,
    "reconnect": Session.reconnect, "console": Session.console, "type": Session.type,
    "exit": Session.exit,
}


def play(session, lines):
    """lines: (number, text), without comments."""
    lines = iter(lines)
    for number, line in lines:
        try:
            if line.startswith(PROMPT):
                want = []
                for _, output in lines:
                    if not output:
                        break
                    want.append(output)
                session.ask_hmp(line[len(PROMPT):], want)
            elif line:
                word, _, rest = line.partition(" ")
                STEPS[word](session, rest)
        except (Wrong, VmError, OSError) as error:
            raise Wrong(f"line {number}: {error}") from None


def read_dialogue(path):
    """(arguments, lines)"""
    arguments, lines = [], []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.startswith("args: "):
                arguments += shlex.split(line[len("args: "):])
            elif not line.startswith("#"):
                lines.append((number, line))
    return arguments, lines


def run(options, path):
    arguments, lines = read_dialogue(path)
    session = Session(options, arguments)
    try:
        play(session, lines)
    finally:
        session.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    options = parser.parse_args()
    failed = 0
    for path in options.files:
        try:
            run(options, path)
            print(f"{path}: ok")
        except Wrong as error:
            failed = 1
            print(f"{path}: FAILED: {error}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
