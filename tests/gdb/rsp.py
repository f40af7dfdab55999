# SPDX-License-Identifier: LGPL-2.1-or-later
"""gdb's remote serial protocol from the client's side, one packet at a time."""
import os
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError        # noqa: E402,F401

TIMEOUT = 60 * int(os.environ.get("TEST_SLOWER", "1"))


def connect(path):
    deadline = time.monotonic() + TIMEOUT
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
            sock.settimeout(TIMEOUT)
            return sock
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if time.monotonic() > deadline:
                raise VmError(f"no stub at {path}") from None
            time.sleep(0.02)


def frame(data):
    if isinstance(data, str):
        data = data.encode()
    return b"$%s#%02x" % (data, sum(data) & 0xff)


def escape(data):
    return b"".join(b"}" + bytes([c ^ 0x20]) if c in b"#$}*" else bytes([c]) for c in data)


def unescape(data):
    out, i = bytearray(), 0
    while i < len(data):
        if data[i] == ord("}"):
            i += 1
            out.append(data[i] ^ 0x20)
        else:
            out.append(data[i])
        i += 1
    return bytes(out)


class Rsp:
    def __init__(self, path, supported="multiprocess+;swbreak+;hwbreak+"):
        self.sock = connect(path)
        self.held = b""
        self.console = ""
        self.ack = True
        if supported is not None:
            self.supported = self.ask("qSupported:" + supported)

    def byte(self):
        if not self.held:
            self.held = self.sock.recv(65536)
            if not self.held:
                raise VmError("the stub closed the connection")
        first, self.held = self.held[:1], self.held[1:]
        return first

    def receive_raw(self):
        """The next packet's data; what comes before its '$' must be acknowledgements."""
        while (c := self.byte()) != b"$":
            if c not in b"+-":
                raise VmError(f"unexpected byte {c} between packets")
        data = bytearray()
        while (c := self.byte()) != b"#":
            data += c
        given = int(self.byte() + self.byte(), 16)
        if given != sum(data) & 0xff:
            raise VmError(f"bad checksum of {bytes(data)}")
        if self.ack:
            try:
                self.sock.sendall(b"+")
            except BrokenPipeError:     # this was the last one
                pass
        return bytes(data)

    def receive(self):
        """The next packet that isn't text for a person, which goes to .console."""
        while True:
            data = self.receive_raw()
            if data[:1] == b"O" and data != b"OK":
                self.console += bytes.fromhex(data[1:].decode()).decode()
            else:
                return unescape(data).decode("latin-1")

    def send(self, data):
        self.sock.sendall(frame(data))

    def ask(self, data):
        self.send(data)
        return self.receive()

    def interrupt(self):
        self.sock.sendall(b"\x03")
        return self.receive()

    def monitor(self, line):
        self.console = ""
        reply = self.ask("qRcmd," + line.encode().hex())
        if reply != "OK":
            raise VmError(f"monitor {line}: {reply}")
        return self.console

    def read(self, addr, size):
        reply = self.ask(f"m{addr:x},{size:x}")
        if reply.startswith("E"):
            raise VmError(f"m {addr:#x}: {reply}")
        return bytes.fromhex(reply)

    def register(self, n):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{n:x}")), "little")

    def close(self):
        self.sock.close()


def symbols(path):
    """Addresses of an ELF file's functions and objects, by name (elf(5))."""
    import struct
    with open(path, "rb") as file:
        elf = file.read()
    shoff, = struct.unpack_from("<Q", elf, 0x28)
    shentsize, shnum = struct.unpack_from("<HH", elf, 0x3a)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, shoff + i * shentsize)
                for i in range(shnum)]
    found = {}
    for section in (s for s in sections if s[1] == 2):
        names = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, info, _, _, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
            if info & 15 in (0, 1, 2):
                text = elf[names + name:elf.index(b"\0", names + name)].decode()
                found[text] = value
    return found
