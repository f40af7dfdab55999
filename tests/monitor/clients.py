# SPDX-License-Identifier: LGPL-2.1-or-later
"""clients.py --binary CLOISTER --guests FOLDER: clients that behave in unusual ways."""
import argparse
import json
import os
import select
import socket
import stat
import sys
import time

from dialogue import SLOWER, TIMEOUT, Session, connect


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Client:
    """A QMP client that looks at bytes."""

    def __init__(self, path):
        self.sock = connect(path)
        self.reader = self.sock.makefile("rb")

    def message(self):
        line = self.reader.readline()
        return json.loads(line) if line else None

    def negotiate(self):
        expect("QMP" in self.message(), "a greeting")
        expect(self.ask({"execute": "qmp_capabilities"}) == {"return": {}}, "negotiation")
        return self

    def ask(self, request):
        self.sock.sendall(json.dumps(request).encode())
        return self.message()

    def silent(self, seconds):
        return not select.select([self.sock], [], [], seconds)[0]

    def close(self):
        self.reader.close()
        self.sock.close()


STATUS = {"execute": "query-status"}


def check_second_client_waits(session):
    first = Client(session.vm.qmp_path).negotiate()
    second = Client(session.vm.qmp_path)
    expect(second.silent(0.5), "the second client gets nothing yet")
    expect("return" in first.ask(STATUS), "the first is served")
    first.close()
    second.negotiate()
    expect("return" in second.ask(STATUS), "the second is served now")
    second.close()


def check_disconnect_in_the_middle(session):
    for _ in range(20):
        client = Client(session.vm.qmp_path).negotiate()
        client.sock.sendall(b'{"execute": "query-status"}{"execute": "query-qmp')
        client.close()
    client = Client(session.vm.qmp_path).negotiate()
    expect("return" in client.ask(STATUS), "served after clients that broke off")
    client.close()


def check_half_close_gets_all_replies(session):
    client = Client(session.vm.qmp_path).negotiate()
    client.sock.sendall(b'{"execute": "query-qmp-schema"}' * 50)
    client.sock.shutdown(socket.SHUT_WR)
    replies = 0
    while client.message():
        replies += 1
    expect(replies == 50, f"50 replies after the client's end, got {replies}")
    client.close()


def check_huge_line(session):
    client = Client(session.vm.qmp_path).negotiate()
    client.sock.sendall(b'{"execute": "')
    for _ in range(100):
        client.sock.sendall(b"A" * 1000000)
    client.sock.sendall(b'"}\n')
    reply = client.message()
    expect(reply["error"]["desc"] == "JSON token size limit exceeded", reply)
    expect("return" in client.ask(STATUS), "served after 100 MB")
    client.close()


def check_deep_nesting(session):
    client = Client(session.vm.qmp_path).negotiate()
    client.sock.sendall(b"[" * 100000 + b"\n")
    reply = client.message()
    expect(reply["error"]["desc"] == "JSON nesting depth limit exceeded", reply)
    expect("return" in client.ask(STATUS), "served after deep nesting")
    client.close()


def check_invalid_utf8(session):
    client = Client(session.vm.qmp_path).negotiate()
    for text in (b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4"):
        client.sock.sendall(b'{"execute": "' + text + b'"}\n')
        # The parser may say more than one thing about it; 0xFF resets it.
        client.sock.sendall(b'\xff{"execute": "query-status", "id": 7}')
        reply = client.message()
        expect(reply["error"]["class"] == "GenericError", reply)
        while "id" not in reply:
            expect("error" in reply, reply)
            reply = client.message()
        expect("return" in reply, f"served after {text}")
    client.close()


def resident(session):
    """KiB of memory of cloister itself, without the guest's."""
    with open(f"/proc/{session.vm.process.pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    return 0


def check_client_that_never_reads(session):
    client = Client(session.vm.qmp_path).negotiate()
    before = resident(session)
    client.sock.settimeout(1)
    sent = 0
    try:
        while sent < 100_000_000:
            sent += client.sock.send(b'{"execute": "query-qmp-schema"}\n' * 100)
    except TimeoutError:
        pass
    expect(sent < 10_000_000, f"{sent} bytes of requests were taken")
    grown = resident(session) - before
    # A sanitizer keeps for a while what was freed.
    expect(grown < SLOWER * 64 * 1024, f"{grown} KiB for a client that doesn't read")
    client.close()
    expect("return" in Client(session.vm.qmp_path).negotiate().ask(STATUS), "the next is served")


def check_socket_file(session):
    Client(session.vm.qmp_path).negotiate().close()
    mode = os.stat(session.vm.qmp_path).st_mode
    expect(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, f"mode is {mode:o}")
    client = Client(session.vm.qmp_path).negotiate()
    client.sock.sendall(b'{"execute": "quit"}')
    expect(client.message()["event"] == "SHUTDOWN", "an event first")
    expect(client.message() == {"return": {}}, "then the return")
    expect(client.message() is None, "then the end")
    client.close()
    expect(session.vm.wait_end(TIMEOUT) == 0, "exit status 0")
    expect(not os.path.exists(session.vm.qmp_path), "the socket file is removed")


CHECKS = (
    check_second_client_waits, check_disconnect_in_the_middle, check_half_close_gets_all_replies,
    check_huge_line, check_deep_nesting, check_invalid_utf8, check_client_that_never_reads,
    check_socket_file,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    options = parser.parse_args()
    session = Session(options, [])
    try:
        for check in CHECKS:
            start = time.monotonic()
            check(session)
            print(f"{check.__name__}: ok ({time.monotonic() - start:.1f} s)", flush=True)
    finally:
        session.close()


if __name__ == "__main__":
    sys.exit(main())
