# SPDX-License-Identifier: LGPL-2.1-or-later
"""A running cloister seen from outside: its console and its QMP socket.

Used by the demo, the benches and the integration tests.  Every wait has a limit
and says what it waited for.
"""
import codecs
import json
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time


ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def split_unfinished(text):
    """What can be looked at now, and an escape sequence that isn't all there yet."""
    start = text.rfind("\x1b")
    if start >= 0 and not ESCAPE_SEQUENCE.match(text, start) and len(text) - start < 16:
        return text[:start], text[start:]
    return text, ""


class VmError(Exception):
    """The VM did not do what was waited for; the text is for a person."""


class Qmp:
    """One QMP connection: commands in order, events collected in .events."""

    def __init__(self, path, timeout=30):
        deadline = time.monotonic() + timeout
        while True:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self.sock.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self.sock.close()
                if time.monotonic() > deadline:
                    raise VmError(f"no QMP socket at {path} after {timeout} s") from None
                time.sleep(0.02)
        self.sock.settimeout(timeout)
        self.reader = self.sock.makefile("r", encoding="utf-8")
        self.events = []
        self.greeting = self.receive()
        self.command("qmp_capabilities")

    def receive(self):
        line = self.reader.readline()
        if not line:
            raise VmError("QMP connection closed")
        return json.loads(line)

    def execute(self, name, **arguments):
        """The whole reply object, error or not."""
        message = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        self.sock.sendall(json.dumps(message).encode() + b"\n")
        while True:
            reply = self.receive()
            if "event" not in reply:
                return reply
            self.events.append(reply)

    def pass_fd(self, fd, name):
        """A descriptor for commands that take one by its name."""
        message = json.dumps({"execute": "getfd", "arguments": {"fdname": name}}).encode() + b"\n"
        socket.send_fds(self.sock, [message], [fd])
        while True:
            reply = self.receive()
            if "event" not in reply:
                return reply
            self.events.append(reply)

    def command(self, name, **arguments):
        """What the command returns; an error reply is an exception."""
        reply = self.execute(name, **arguments)
        if "error" in reply:
            raise VmError(f"{name}: {reply['error']['desc']}")
        return reply["return"]

    def hmp(self, line):
        text = self.command("human-monitor-command", **{"command-line": line})
        return text.replace("\r\n", "\n")

    def close(self):
        self.reader.close()
        self.sock.close()


class Vm:
    """cloister with its console on pipes and QMP on a socket in a folder of its own."""

    def __init__(self, binary, arguments, qmp=True, echo=None, show_errors=False):
        self.folder = tempfile.mkdtemp(prefix="cloister-")
        self.qmp_path = os.path.join(self.folder, "qmp.sock")
        self.console = ""           # all that the guest printed, without escape sequences
        self.unfinished = ""        # what may be the beginning of one
        self.echo = echo            # a stream that sees it as it comes
        self._qmp = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        command = [binary, *arguments, "-display", "none", "-serial", "stdio"]
        if qmp:
            command += ["-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=None if show_errors else subprocess.PIPE)
        self.stderr = b""

    @property
    def qmp(self):
        if self._qmp is None:
            self._qmp = Qmp(self.qmp_path)
        return self._qmp

    def pump(self, timeout):
        """Take in what the guest prints within timeout seconds; False at its end."""
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if not ready:
            return True
        data = os.read(self.process.stdout.fileno(), 65536)
        # A line's end and a character may come in two parts.
        text = self._held + self._decoder.decode(data, final=not data)
        self._held = "\r" if data and text.endswith("\r") else ""
        text = text[:len(text) - len(self._held)].replace("\r\n", "\n")
        if self.echo:
            self.echo.write(text)
            self.echo.flush()
        # A shell that edits lines asks the terminal things between the words it prints.
        text, self.unfinished = split_unfinished(self.unfinished + text)
        self.console += ESCAPE_SEQUENCE.sub("", text)
        return bool(data)

    def wait_for(self, pattern, timeout, start=0):
        """The match of a regular expression in the console from offset start on."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            match = expression.search(self.console, start)
            if match:
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise VmError(f"no '{pattern}' within {timeout} s; the console ends with:\n"
                              + self.console[-2000:])
            if not self.pump(min(left, 1.0)):
                match = expression.search(self.console, start)
                if match:
                    return match
                raise VmError(f"cloister ended (status {self.process.wait()}) before "
                              f"'{pattern}'\n{self.console[-2000:]}\n{self.errors()}")

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def errors(self):
        if self.process.poll() is not None and self.process.stderr:
            self.stderr += self.process.stderr.read()
            self.process.stderr.close()
            self.process.stderr = None
        return self.stderr.decode("utf-8", "replace")

    def wait_end(self, timeout):
        """cloister's exit status."""
        deadline = time.monotonic() + timeout
        while self.pump(0.5):
            if time.monotonic() > deadline:
                raise VmError(f"cloister still runs after {timeout} s; the console ends with:\n"
                              + self.console[-2000:])
        return self.process.wait(timeout)

    def close(self):
        if self._qmp:
            self._qmp.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# Ways to have private memory, and the option of the object that is it.
BACKEND_OPTIONS = {
    "private": "memory-backend-ram,private=on",
    "private-memfd": "memory-backend-memfd,private=on",
    "private-hugetlb": "memory-backend-memfd,private=on,hugetlb=on",
    "private-file": f"memory-backend-file,private=on,share=on,mem-path={tempfile.gettempdir()}",
    "private-shm": "memory-backend-shm,private=on",
    "memfd": "memory-backend-memfd,guest-memfd=on,share=on",
    "guest-memfd": "memory-backend-guest-memfd",
}
# One of each kind.
BACKENDS = ("private", "memfd", "guest-memfd")


def protected(backend, size):
    """Arguments of a protected VM: backend is one of BACKEND_OPTIONS."""
    return ["-machine", "q35,kvm-type=sw-protected-vm,memory-backend=mem0",
            "-object", f"{BACKEND_OPTIONS[backend]},id=mem0,size={size}", "-m", size]


def hot_memory(backend, size):
    """Arguments of a memory device of that size, 8 MiB requested; backend: None: ordinary memory."""
    option = BACKEND_OPTIONS[backend] if backend else "memory-backend-ram"
    return ["-m", "maxmem=1G", "-object", f"{option},id=hot,size={size}",
            "-device", "virtio-mem-pci,addr=5,memdev=hot,requested-size=8M"]
