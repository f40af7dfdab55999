# SPDX-License-Identifier: LGPL-2.1-or-later
"""protocol.py --binary CLOISTER --guests FOLDER CASE...: the gdb stub, packet by packet."""
import argparse
import os
import re
import socket
import stat
import sys
import tempfile
import traceback

import rsp
from rsp import Rsp, Vm, VmError, connect, escape, frame, symbols

RIP, RSP = 16, 7
EFLAGS, CR0, FCTRL = 17, 60, 32


class DebuggedVm(Vm):
    """Stopped at its first instruction, with a stub on a unix socket."""

    def __init__(self, setting, guest="debug", append="", arguments=("-S",), smp=1):
        self.elf = os.path.join(setting.guests, guest + ".elf")
        self.symbols = symbols(self.elf)
        self.stub_folder = tempfile.TemporaryDirectory(prefix="cloister-gdb-")
        self.stub = os.path.join(self.stub_folder.name, "gdb.sock")
        super().__init__(setting.binary, [
            "-accel", "soft", "-m", "64M", "-smp", str(smp), "-kernel", self.elf, "-append", append,
            "-gdb", f"unix:{self.stub}", *arguments])

    def close(self):
        super().close()
        self.stub_folder.cleanup()


def expect(what, got, pattern):
    if not re.fullmatch(pattern, got, re.S):
        raise VmError(f"{what}: '{got[:300]}' instead of '{pattern}'")


def check(what, ok):
    if not ok:
        raise VmError(what)


def rows(setting):
    """Packets whose answer doesn't depend on much."""
    with DebuggedVm(setting, smp=2) as vm:
        g = Rsp(vm.stub)
        expect("qSupported", g.supported,
               r"PacketSize=20000;qXfer:features:read\+;vContSupported\+;multiprocess\+;"
               r"QStartNoAckMode\+;swbreak\+;hwbreak\+")
        check("the socket's mode", stat.S_IMODE(os.stat(vm.stub).st_mode) == 0o600)
        for packet, pattern in (
                ("?", r"T05thread:p01\.01;"), ("!", "OK"), ("qC", r"QCp01\.01"),
                ("qAttached", "1"), ("qAttached:1", "1"),
                ("qfThreadInfo", r"mp01\.01,p01\.02"), ("qsThreadInfo", "l"),
                ("qThreadExtraInfo,p1.2", "[0-9a-f]+"), ("qThreadExtraInfo,p1.3", "E16"),
                ("Hg0", "OK"), ("Hg-1", "OK"), ("Hgp1.2", "OK"), ("Hgp1.1", "OK"),
                ("Hg3", "E16"), ("Hgp2.1", "E16"), ("Hx1", "E16"), ("H", "E16"),
                ("Hc-1", "OK"), ("Tp1.2", "OK"), ("Tp1.3", "E16"), ("T", "E16"),
                ("vCont?", r"vCont;c;C;s;S;t"), ("vCont;q", "E16"), ("vCont;c:9", "E16"),
                ("vCont;t", "E16"), ("vCont", "E16"),
                ("vMustReplyEmpty", ""), ("qSymbol::", ""), ("QNonStop:0", ""), ("bs", ""),
                ("p10", "[0-9a-f]{16}"), ("p43", "E0e"), ("pzz", "E0e"), ("P10=12", "E0e"),
                ("G0", "E16"), ("g", "[0-9a-f]{1216}"),
                ("m0,0", ""), ("m", "E16"), ("m0", "E16"), ("m0,zz", "E16"), ("m0,4x", "E16"),
                ("mffffffffffff0000,4", "E0e"), ("M0,4:00", "E16"), ("X0,4:ab", "E16"),
                ("Z9,0,1", ""), ("Z3,1000,4", ""), ("Z1,1000,2", "E16"), ("Z2,1001,4", "E16"),
                ("z1,1000,1", "E16"), ("z0,1000,1", "E16"), ("Z0", "E16"),
                ("qXfer:features:read:core.xml:0,100", "E00"),
                ("qXfer:features:read:target.xml:0", "E16"),
                ("qXfer:features:read:target.xml:99999,10", "E16"),
                ("qXfer:memory-map:read::0,100", ""),
                ("qRcmd,zz", "E16"), ("qqemu.Supported", "sstepbits;sstep;PhyMemMode"),
                ("qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4"), ("qqemu.sstep", "0x7"),
                ("Qqemu.sstep=5", "OK"), ("qqemu.sstep", "0x5"), ("Qqemu.sstep=9", "E16"),
                ("qqemu.PhyMemMode", "0"), ("Qqemu.PhyMemMode:1", "OK"), ("qqemu.PhyMemMode", "1"),
                ("qGDBServerVersion", r"name:cloister;version:.*;"), ("x0,0", "OK"),
                ("D;2", "E16"), ("vKill;2", "E16"), ("vAttach;1", r"T05thread:p01\.01;"),
                ("QStartNoAckMode", "OK")):
            expect(packet, g.ask(packet), pattern)
        g.ack = False
        expect("after no-ack", g.ask("qC"), r"QCp01\.01")
        xml = g.ask("qXfer:features:read:target.xml:0,ffff")
        check("target.xml", xml[0] == "l" and xml.count("<reg ") == 66 and
              "org.gnu.gdb.i386.core" in xml and xml.rstrip().endswith("</target>"))
        check("target.xml in pieces", g.ask("qXfer:features:read:target.xml:0,10") ==
              "m" + xml[1:17])
        g.close()


def single_process_ids(setting):
    with DebuggedVm(setting) as vm:
        g = Rsp(vm.stub, "swbreak-")
        expect("?", g.ask("?"), "T05thread:01;")
        expect("threads", g.ask("qfThreadInfo"), "m01")
        g.close()


def memory(setting):
    with DebuggedVm(setting) as vm:
        g = Rsp(vm.stub)
        at = 0x400000
        data = bytes(range(256)) * 128
        expect("X", g.ask(b"X%x,%x:" % (at, len(data)) + escape(data)), "OK")
        check("m returns what X wrote", g.read(at, len(data)) == data)
        check("x returns what X wrote",
              g.ask(f"x{at:x},{len(data):x}").encode("latin-1") == data)
        expect("M", g.ask(f"M{at:x},3:c0ffee"), "OK")
        check("m returns what M wrote", g.read(at, 4) == b"\xc0\xff\xee\x03")
        check("a read to the end of RAM is cut", len(g.read(0x4000000 - 16, 64)) == 16)
        check("a huge read is cut", 0 < len(g.read(at, 0xffffffff)) <= 0x10000)
        expect("a register", g.ask("P0=efcdab8967452301"), "OK")
        check("rax", g.register(0) == 0x0123456789abcdef)
        check("g begins with rax", g.ask("g").startswith("efcdab8967452301"))
        everything = g.ask("g")
        expect("G of g", g.ask("G" + everything), "OK")
        check("G changed nothing", g.ask("g") == everything)
        expect("xmm3", g.ask("P2b=" + "0123456789abcdef" * 2), "OK")
        expect("xmm3", g.ask("p2b"), "0123456789abcdef" * 2)
        expect("fctrl", g.ask(f"p{FCTRL:x}"), "7f030000|40000000")
        expect("a selector in protected mode", g.ask("P12=10000000"), "E16|OK")
        expect("a reserved bit of CR0 and CR4", g.ask("P3f=ffffffffffffffff"), "E0e")
        check("status", "prelaunch" in g.monitor("info status"))
        check("a wrong command", "unknown command" in g.monitor("no such thing"))
        check("gdbserver from within", "another monitor" in g.monitor("gdbserver none"))
        g.close()


def run(setting):
    """Breakpoints of each kind, steps, watchpoints, and the guest's own exceptions."""
    with DebuggedVm(setting) as vm:
        at = vm.symbols
        g = Rsp(vm.stub)
        expect("Z1", g.ask(f"Z1,{at['guest_main']:x},1"), "OK")
        expect("hardware breakpoint", g.ask("c"), r"T05thread:p01\.01;hwbreak:;")
        check("rip at guest_main", g.register(RIP) == at["guest_main"])
        check("status", vm.qmp.command("query-status")["status"] == "debug")
        expect("z1", g.ask(f"z1,{at['guest_main']:x},1"), "OK")
        before = g.register(RIP)
        expect("step", g.ask("vCont;s:p1.1;c:p1.-1"), r"T05thread:p01\.01;")
        check("a step is one instruction", 0 < g.register(RIP) - before < 16)
        original = g.read(at["leaf"], 1)
        expect("Z0", g.ask(f"Z0,{at['leaf']:x},1"), "OK")
        expect("Z0 again", g.ask(f"Z0,{at['leaf']:x},1"), "OK")
        check("INT3 is there", g.read(at["leaf"], 1) == b"\xcc")
        expect("software breakpoint", g.ask("vCont;c"), r"T05thread:p01\.01;swbreak:;")
        check("rip at leaf", g.register(RIP) == at["leaf"])
        back = int.from_bytes(g.read(g.register(RSP), 8), "little")
        check("called by middle", at["middle"] < back < at["middle"] + 64)
        expect("z0", g.ask(f"z0,{at['leaf']:x},1"), "OK")
        check("INT3 is gone", g.read(at["leaf"], 1) == original)
        counter = at["counter"]
        check("counter", g.read(counter, 4) == (40).to_bytes(4, "little"))
        expect("Z2", g.ask(f"Z2,{counter:x},4"), "OK")
        expect("watchpoint", g.ask("c"), rf"T05thread:p01\.01;watch:{counter:x};")
        check("it is written", g.read(counter, 4) == (41).to_bytes(4, "little"))
        expect("z2", g.ask(f"z2,{counter:x},4"), "OK")
        expect("Z4", g.ask(f"Z4,{counter:x},4"), "OK")
        expect("access", g.ask("c"), rf"T05thread:p01\.01;awatch:{counter:x};")
        expect("z4", g.ask(f"z4,{counter:x},4"), "OK")
        for n in range(4):
            expect("four registers", g.ask(f"Z1,{0x1000 + n:x},1"), "OK")
        expect("a fifth", g.ask("Z1,1004,1"), "E16")
        expect("the same again", g.ask("Z1,1000,1"), "E16")
        expect("detach", g.ask("D;1"), "OK")
        vm.wait_for(r"^counter 46, sum", rsp.TIMEOUT)
        vm.wait_for(r"^PASS$", rsp.TIMEOUT)
        check("status 0", vm.wait_end(rsp.TIMEOUT) == 0)


def threads(setting):
    """Two vCPUs: one steps while the other stands, and each has its own registers."""
    with DebuggedVm(setting, "smp", smp=2) as vm:
        at = vm.symbols
        g = Rsp(vm.stub)
        expect("break", g.ask(f"Z1,{at['finish']:x},1"), "OK")
        expect("at the end", g.ask("vCont;c"), r"T05thread:p01\.01;hwbreak:;")
        g.ask("Hgp1.2")
        other = g.ask("g")
        g.ask("Hgp1.1")
        check("two processors, two states", g.ask("g") != other)
        expect("z", g.ask(f"z1,{at['finish']:x},1"), "OK")
        for _ in range(20):
            expect("step", g.ask("vCont;s:p1.1"), r"T05thread:p01\.01;")
        g.ask("Hgp1.2")
        check("the other stood still", g.ask("g") == other)
        expect("to the end", g.ask("vCont;c"), "W00")
        check("status 0", vm.wait_end(rsp.TIMEOUT) == 0)


def states(setting):
    """Between debugger and QMP: who stops and starts what."""
    with DebuggedVm(setting, append="wait", arguments=()) as vm:
        vm.wait_for(r"^counter", rsp.TIMEOUT)
        status = lambda: vm.qmp.command("query-status")["status"]       # noqa: E731
        check("running", status() == "running")
        g = Rsp(vm.stub)
        check("stopped by connecting", status() == "paused")
        g.send("c")
        vm.qmp.command("query-name")
        expect("interrupt", g.interrupt(), r"T02thread:p01\.01;")
        check("paused", status() == "paused")
        g.send("c")
        while status() != "running":
            pass
        vm.qmp.command("stop")
        expect("stop of QMP's", g.receive(), r"T02thread:p01\.01;")
        vm.qmp.command("cont")
        check("cont of QMP's", status() == "running")
        expect("a packet stops it", g.ask("qC"), r"QCp01\.01")
        check("paused again", status() == "paused")
        g.send("c")
        while status() != "running":
            pass
        vm.qmp.command("system_reset")
        expect("break after a reset", g.interrupt(), r"T02thread:p01\.01;")
        expect("kill", g.ask("vKill;1"), "OK")
        check("status 0", vm.wait_end(rsp.TIMEOUT) == 0)
        check("it says so", "terminated by the debugger" in vm.errors())
        events = [e["event"] for e in vm.qmp.events]
        check(f"events {events}", events[:4] == ["STOP", "RESUME", "STOP", "RESUME"])


def reset(setting):
    """Breakpoints are there after the guest's reset; its memory isn't what it was."""
    with DebuggedVm(setting, append="reset") as vm:
        at = vm.symbols["leaf"]
        g = Rsp(vm.stub)
        expect("Z0", g.ask(f"Z0,{at:x},1"), "OK")
        for _ in range(2):
            for n in range(3):
                expect("break", g.ask("c"), r"T05thread:p01\.01;swbreak:;")
                check("rip", g.register(RIP) == at)
                expect("z0", g.ask(f"z0,{at:x},1"), "OK")
                expect("step", g.ask("s"), r"T05thread:p01\.01;")
                expect("Z0", g.ask(f"Z0,{at:x},1"), "OK")
        vm.qmp.command("system_reset")
        check("the INT3 is in the fresh image", g.read(at, 1) == b"\xcc")
        expect("z0", g.ask(f"z0,{at:x},1"), "OK")
        check("and its byte is the image's", g.read(at, 1) != b"\xcc")
        g.close()


def hostile(setting):
    """Whatever comes, the stub answers or drops it, and serves the next one."""
    with DebuggedVm(setting, append="wait") as vm:
        g = Rsp(vm.stub)
        second = connect(vm.stub)
        check("a second client is turned away", second.recv(1) == b"")
        g.sock.sendall(b"$qC#00")
        check("bad checksum", g.byte() == b"-")
        g.close()
        for garbage in (b"$" + b"A" * 0x40000 + b"#", b"$m0,4", b"$}", b"$a*", b"#" * 100,
                        b"\x03\x03\x03", b"-" * 2000, os.urandom(5000), b"$c#63\x03$",
                        b"$vCont;s;s;s;s;s#00", b""):
            sock = connect(vm.stub)
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
            sock.close()
        g = Rsp(vm.stub)
        expect("too long a packet", g.ask(b"m" + b"0" * 0x20001), "E16")
        for packet in ("m0,ffffffffffffffff", "mffffffffffffffff,ffffffffffffffff",
                       "Z0,ffffffffffffffff,1", "Z2,ffffffffffffffff,8", "M" + "f" * 60000,
                       "P" + "f" * 17 + "=00", "vCont" + ";s" * 50000, "qSupported:" + ";" * 9000,
                       "Hgp" + "9" * 40, "qThreadExtraInfo,", "qXfer:features:read:target.xml:"
                       "ffffffffffffffff,ffffffffffffffff", "p" + "f" * 16, "G" + "00" * 60000):
            reply = g.ask(packet)
            check(f"{packet[:40]}: {reply[:40]}", len(reply) < 0x20000)
        g.close()
        # Breakpoints don't outlive who set them.
        g = Rsp(vm.stub)
        at = vm.symbols["leaf"]
        original = g.read(at, 1)
        expect("Z0", g.ask(f"Z0,{at:x},1"), "OK")
        g.close()
        g = Rsp(vm.stub)
        check("the INT3 is gone with its client", g.read(at, 1) == original)
        expect("detach", g.ask("D;1"), "OK")
        g.close()
        vm.wait_for(r"^counter", rsp.TIMEOUT)


def server(setting):
    """gdbserver of the monitor: on, elsewhere, off; TCP is this machine's only."""
    with DebuggedVm(setting, arguments=("-S", "-gdb", "none")) as vm:
        check("none", not os.path.exists(vm.stub))
        expect("gdbserver", vm.qmp.hmp(f"gdbserver unix:{vm.stub}"),
               r"Waiting for gdb connection on device 'unix:.*'\n")
        g = Rsp(vm.stub)
        expect("?", g.ask("?"), r"T05thread:p01\.01;")
        expect("gdbserver none", vm.qmp.hmp("gdbserver none"), r"Disabled gdbserver\n")
        try:
            check("its client is cut off", g.sock.recv(1) == b"")
        except ConnectionResetError:
            pass
        check("the socket is gone", not os.path.exists(vm.stub))
        expect("a bad address", vm.qmp.hmp("gdbserver tcp:300.1.1.1"), r"Error: gdbserver: .*")
        expect("tcp", vm.qmp.hmp("gdbserver tcp::0"), r"Waiting .*\n")
        chardevs = vm.qmp.command("query-chardev")
        name, = (row["filename"] for row in chardevs if row["label"] == "gdb")
        expect("loopback", name, r"disconnected:tcp:127\.0\.0\.1:\d+,server=on")


CASES = {f.__name__.replace("_", "-"): f for f in (
    rows, single_process_ids, memory, run, threads, states, reset, hostile, server)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.cases or CASES:
        try:
            CASES[name](arguments)
            print(f"{name}: ok", flush=True)
        except (VmError, TimeoutError, OSError, AssertionError) as error:
            traceback.print_exc()
            print(f"{name}: FAILED: {error!r}", flush=True)
            failed += 1
    return 1 if failed else 0


sys.exit(main())
