# SPDX-License-Identifier: LGPL-2.1-or-later
"""soak.py [SPELLING...]: cloister under everything at once, for --seconds.

A guest's four processors convert memory as fast as they can.  Beside them, at random:
queries, object and device churn, resets, stops, containers of DMA mappings that refuse,
failures of KVM, clients that come and go.  At checkpoints KVM, the record and all
listeners must agree, and no page may be held twice; at each reset the process must hold
as many descriptors, threads, mappings and bytes as at the first.

Prints its seed; --seed repeats the steps (not the guest's timing).  Exit status 0 or 1.
"""
import argparse
import json
import os
import random
import re
import socket
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError, protected        # noqa: E402

MIB = 1 << 20
MEMORY = 64 * MIB
DEVICE_MEMORY = 64 * MIB
SLOWER = int(os.environ.get("TEST_SLOWER", "1"))
TIMEOUT = 60 * SLOWER
BAD = re.compile(r"^(.*: FAILED|FAIL|unexpected .*)$", re.MULTILINE)
# What a process may hold more of at a later reset: caches of threads' stacks and the heap.
SLACK = {"descriptors": 0, "threads": 0, "mappings": 32 * SLOWER, "rss": 24 * MIB * SLOWER}
if "ASAN_OPTIONS" in os.environ:
    SLACK["rss"] += 256 * MIB           # of freed memory it keeps so much

# name: -accel soft..., backend of protected(), backend of a memory device
SPELLINGS = {
    "private": ("", "private", "ram,private=on"),
    "private-memfd": ("", "private-memfd", "memfd,private=on"),
    "private-hugetlb": ("", "private-hugetlb", "memfd,private=on"),
    "private-file": ("", "private-file", "memfd,private=on"),
    "private-shm": ("", "private-shm", "shm,private=on"),
    "vm2": (",memory-attributes=vm2", "private", "ram,private=on"),
    "memfd": ("", "memfd", "memfd,guest-memfd=on,share=on"),
    "guest-memfd": ("", "guest-memfd", "guest-memfd"),
}
IN_PLACE = ("memfd", "guest-memfd")
HUGETLB = "private-hugetlb"
EXIT_SKIP = 77


def expect(condition, text):
    if not condition:
        raise VmError(text)


# --- The process from outside ---

def status_field(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(rf"^{name}:\s+(\d+)", file.read(), re.M).group(1))


def holdings(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        mappings = len(file.readlines())
    return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": status_field(pid, "Threads"), "mappings": mappings,
            "rss": status_field(pid, "VmRSS") * 1024}


def grown(first, now):
    return {what: (first[what], now[what]) for what in first
            if now[what] > first[what] + SLACK[what]}


def lacks(spelling):
    """Why this spelling can't be had on this host; None if it can."""
    if spelling != HUGETLB:
        return None
    with open("/proc/meminfo", encoding="ascii") as file:
        free = int(re.search(r"^HugePages_Free: +(\d+)", file.read(), re.M).group(1))
    return f"lacks 34 free huge pages, has {free}: nr_hugepages" if free < 34 else None


# --- Failures ---

def rules(rng, in_place, may_stick):
    """Rules of -accel soft: single calls that fail, rarely at first, then ever more rarely."""
    ioctl = "KVM_SET_MEMORY_ATTRIBUTES2" if in_place else "KVM_SET_MEMORY_ATTRIBUTES"
    text = ""
    for _ in range(24):
        what = rng.choice([ioctl, ioctl, "attributes"] + ["mapping"] * in_place)
        first = int(10 ** rng.uniform(1.5, 5.5))
        last = first + (rng.randrange(12) if may_stick else 0)
        error = rng.choice(("ENOMEM", "EAGAIN", "EINVAL")) if what == ioctl else "ENOMEM"
        text += f",fail={what}:{first}-{last}:{error}"
    if in_place:
        # An odd page, busy for a while.
        text += f",pin={(512 + rng.randrange(8192)) * 4096}:{rng.randrange(1, 8)}"
    return text


# --- One machine ---

class Soak:
    def __init__(self, arguments, spelling, seed):
        accel, backend, kind = SPELLINGS[spelling]
        self.rng = random.Random(seed)
        self.spelling, self.kind = spelling, kind
        # Failures may come in a row: undoing fails too.  Of huge pages old copies remain.
        self.lax = spelling == HUGETLB or self.rng.random() < 0.3
        self.folder = tempfile.mkdtemp(prefix="cloister-soak-")
        self.disk = os.path.join(self.folder, "disk.img")
        with open(self.disk, "wb") as file:
            file.truncate(MIB)
        if spelling != "vm2":
            accel += rules(self.rng, spelling in IN_PLACE, self.lax)
        else:
            accel += rules(self.rng, False, self.lax).replace("ATTRIBUTES:", "ATTRIBUTES2:")
        words = ["may-fail", "roam"] + ["lax"] * self.lax + \
            ["in-place"] * (spelling in IN_PLACE)
        memory = protected(backend, f"{MEMORY // MIB}M")
        memory[-1] += ",slots=4,maxmem=1G"
        self.clients = [os.path.join(self.folder, name) for name in ("qmp", "hmp")]
        self.vm = Vm(arguments.binary, [
            "-accel", "soft" + accel, *memory, "-smp", "4",
            "-object", f"memory-backend-{kind},id=plug,size={DEVICE_MEMORY}",
            "-device", "virtio-mem-pci,id=vm0,memdev=plug",
            "-qmp", f"unix:{self.clients[0]},server=on,wait=off",
            "-monitor", f"unix:{self.clients[1]},server=on,wait=off",
            "-kernel", os.path.join(arguments.guests, "convert.elf"),
            "-append", " ".join(words)], show_errors=True)
        self.booted = 0         # offset in the console
        self.containers, self.backends, self.devices = [], [], []
        self.serial = 0
        self.rude = []
        self.first = None       # holdings
        self.done = {}

    # Helpers

    def name(self, what):
        self.serial += 1
        return f"{what}{self.serial}"

    def ask(self, command, **arguments):
        return self.vm.qmp.command(command, **arguments)

    def may_fail(self, command, reason, **arguments):
        """True if it was done; only this reason is taken for why not."""
        reply = self.vm.qmp.execute(command, **arguments)
        if "error" in reply:
            expect(re.search(reason, reply["error"]["desc"]), f"{command} {arguments}: {reply}")
        return "return" in reply

    def look_at_guest(self):
        before = -1
        while before != len(self.vm.console):
            before = len(self.vm.console)
            self.vm.pump(0)
        bad = BAD.search(self.vm.console, self.booted)
        expect(not bad, f"the guest says '{bad and bad.group()}':\n{self.vm.console[-1500:]}")
        expect(self.vm.process.poll() is None, "cloister is gone")

    def wait_boot(self):
        self.booted = self.vm.wait_for(r"^waiting for a key\n", TIMEOUT, self.booted).end()

    def event(self, name, device):
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            self.ask("query-status")
            for event in self.vm.qmp.events:
                if event["event"] == name and event["data"].get("device") == device:
                    return
            time.sleep(0.02)
        raise VmError(f"no {name} of {device}")

    # Steps

    def query(self):
        rng, extra = self.rng, {}
        if rng.random() < 0.3:
            extra["block"] = rng.choice(("mem0", "0000:00:01.0/plug"))
        if rng.random() < 0.4:
            extra["gpa"] = rng.randrange(0, MEMORY, 4096)
            extra["size"] = rng.randrange(4096, 2 * MEMORY, 4096)
        if rng.random() < 0.3:
            extra["min-size"] = 4096 * rng.randrange(1, 64)
        if rng.random() < 0.3:
            extra["limit"] = rng.randrange(1, 50)
        for block in self.ask("x-query-ramblock-attributes", **extra):
            self.check_ranges(block, extra)

    @staticmethod
    def check_ranges(block, extra):
        at, before = 0, None
        for r in block["ranges"]:
            state = (r["shared"], r["populated"])
            place = r.get("gpa", r["start"])
            expect(place >= at and r["length"] > 0, f"out of order: {block['name']} {r}")
            expect(r["shared"] or not r["populated"], f"private and populated: {r}")
            expect(place > at or state != before or "gpa" in r, f"not maximal: {r}")
            expect(r["length"] >= extra.get("min-size", 0), f"too small: {r} of {extra}")
            if not extra:
                expect(place == at, f"a gap before {r}")
            at, before = place + r["length"], state

    def page(self):
        limit, asked = self.rng.randrange(1, 40), {}
        for _ in range(30):
            blocks = self.ask("x-query-ramblock-attributes", limit=limit, **asked)
            expect(sum(len(b["ranges"]) for b in blocks) <= limit, "more than the limit")
            if not blocks or "cursor" not in blocks[-1]:
                return
            asked = {"cursor": blocks[-1]["cursor"]}

    def other_queries(self):
        command = self.rng.choice((
            "x-query-ramblock-summary", "x-query-memory-cost", "x-query-conversions",
            "x-query-vfio-containers", "query-memdev", "query-memory-devices", "query-pci",
            "x-query-dma", "query-cpus-fast", "query-memory-size-summary", "query-status",
            "query-named-block-nodes", "query-qmp-schema"))
        self.ask(command)

    def people(self):
        self.vm.qmp.hmp(self.rng.choice((
            "info ramblock-attributes -n 20", "info registers -a", "info cpus", "info qtree",
            "info conversions", "info memory-cost", "info vfio-containers", "info dma",
            "info memory-check", "info mtree", "nonsense", "help", "info kvm", "cpu 3")))

    def events(self):
        self.ask("x-set-conversion-events", enable=self.rng.random() < 0.5)

    def container(self):
        if self.containers and (len(self.containers) > 2 or self.rng.random() < 0.4):
            self.ask("object-del", id=self.containers.pop(self.rng.randrange(
                len(self.containers))))
            return
        extra, name = {}, self.name("c")
        if self.rng.random() < 0.6:
            extra["max-mappings"] = int(2 ** self.rng.uniform(3, 12))
        if self.rng.random() < 0.2:
            extra["max-locked"] = self.rng.randrange(1, 64) * MIB
        if self.may_fail("object-add", "can't map the guest's memory", id=name,
                         **{"qom-type": "vfio-container"}, **extra):
            self.containers.append(name)

    def backend(self):
        if self.backends and (len(self.backends) > 3 or self.rng.random() < 0.5):
            self.ask("object-del", id=self.backends.pop())
            return
        kind, name = self.rng.choice(("ram", "memfd", "shm")), self.name("m")
        self.ask("object-add", **{"qom-type": f"memory-backend-{kind}"}, id=name,
                 size=self.rng.randrange(1, 8) * MIB, prealloc=self.rng.random() < 0.3)
        self.backends.append(name)
        reply = self.vm.qmp.execute("object-add", **{"qom-type": "memory-backend-ram"}, id=name,
                                    size=4096)
        expect("error" in reply, "the same id twice")

    def device(self):
        if self.devices and (len(self.devices) > 3 or self.rng.random() < 0.5):
            device, node = self.devices.pop(self.rng.randrange(len(self.devices)))
            self.ask("device_del", id=device)
            self.event("DEVICE_DELETED", device)
            if node:
                self.ask("blockdev-del", **{"node-name": node})
            return
        name, extra, node = self.name("d"), {}, None
        kind = self.rng.choice(("virtio-rng-pci", "virtio-serial-pci", "virtio-blk-pci"))
        if kind == "virtio-blk-pci":
            node = self.name("n")
            self.ask("blockdev-add", **{"driver": "file", "node-name": node,
                                        "filename": self.disk, "read-only": True})
            extra["drive"] = node
        self.ask("device_add", driver=kind, id=name, **extra)
        self.devices.append((name, node))

    def plug(self):
        self.ask("qom-set", path="vm0", property="requested-size",
                 value=self.rng.randrange(0, DEVICE_MEMORY + 1, 2 * MIB))

    def stop(self):
        self.ask("stop")
        self.agree()
        self.ask("cont")

    def system_reset(self):
        """Failures meet it too: then it must be as well as before, and another one does it."""
        for _ in range(40):
            self.ask("system_reset")
            if self.ask("query-status")["status"] != "internal-error":
                return
            self.done["failed-reset"] = self.done.get("failed-reset", 0) + 1
            self.agree(away=True)
        raise VmError("no reset in 40 succeeds")

    def reset(self):
        stopped = self.rng.random() < 0.5
        if stopped:
            self.ask("stop")
        self.system_reset()
        if stopped:
            self.agree()
        self.ask("cont")
        self.wait_boot()

    def guests_come(self):
        """Clients that don't behave; each has its time to be looked at, or none at all."""
        path = self.rng.choice(self.clients)
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(TIMEOUT)
        client.connect(path)
        message = self.rng.choice((
            b"", b"{", b"\xff\xff", b'{"execute": "qmp_capabilities"}\n' * 50, b"help\n" * 20,
            b'{"execute": "qmp_capabilities"}{"execute": "query-qmp-schema"}',
            b"info ramblock-attributes\ninfo qtr\t", b"[" * 2000,
            json.dumps({"execute": "query-status", "arguments": {"x": "y" * 9999}}).encode()))
        client.sendall(message)
        if self.rng.random() < 0.5:
            client.close()
        else:
            self.rude.append(client)
        while len(self.rude) > 3:
            self.rude.pop(0).close()

    # What must hold

    def agree(self, away=False):
        """The guest stands still; away: a reset has failed, and listeners have nothing."""
        check = self.ask("x-query-memory-check")
        expect(check["kvm-asked"] and check["listeners"] == len(self.containers) and
               not check["mismatches"], f"they don't agree: {check}")
        for cost in self.ask("x-query-memory-cost"):
            # What a reset couldn't do goes with the next one.
            expect(away or self.spelling == HUGETLB or not cost.get("stale") and not cost.get("doubly-held"), f"held twice: {cost}")
        shared = sum(b["shared"] for b in self.ask("x-query-ramblock-summary"))
        populated = sum(b["populated"] for b in self.ask("x-query-ramblock-summary"))
        expect(populated <= shared, "more populated than shared")
        for c in self.ask("x-query-vfio-containers"):
            expect(c["locked"] + c["missing"] == (0 if away else populated),
                   f"{populated} are populated: {c}")

    def put_away(self):
        for name in self.containers + self.backends:
            self.ask("object-del", id=name)
        for device, _ in self.devices:
            self.ask("device_del", id=device)
        for device, _ in self.devices:
            self.event("DEVICE_DELETED", device)
        for _, node in self.devices:
            if node:
                self.ask("blockdev-del", **{"node-name": node})
        for client in self.rude:
            client.close()
        self.containers, self.backends, self.devices, self.rude = [], [], [], []
        self.vm.qmp.events.clear()

    def compare_holdings(self):
        """Everything is put away and the guest is where it began: what is held now?"""
        self.put_away()
        self.ask("x-set-conversion-events", enable=False)
        self.ask("stop")
        self.ask("qom-set", path="vm0", property="requested-size", value=0)
        self.system_reset()
        self.agree()
        deadline = time.monotonic() + 10 * SLOWER
        while True:
            now = holdings(self.vm.process.pid)
            more = grown(self.first, now) if self.first else {}
            if not more or time.monotonic() > deadline:
                break
            time.sleep(0.05)    # a thread or a client on its way out
            self.ask("query-status")
        expect(not more, f"held more than at the first reset: {more}")
        # The first round fills caches; the second one's figures are what all others meet.
        self.done["rounds"] = self.done.get("rounds", 0) + 1
        if not self.first and self.done["rounds"] == 2:
            self.first = now
        self.ask("cont")
        self.wait_boot()
        return now

    STEPS = ((query, 12), (page, 6), (other_queries, 8), (people, 6), (events, 1),
             (container, 8), (backend, 4), (device, 4), (plug, 2), (stop, 8), (reset, 1),
             (guests_come, 4))

    def step(self):
        step = self.rng.choices([s for s, _ in self.STEPS], [w for _, w in self.STEPS])[0]
        name = step.__name__.strip("_")
        self.done[name] = self.done.get(name, 0) + 1
        step(self)
        self.look_at_guest()
        return name

    def conversions(self):
        last = self.ask("x-query-conversions", limit=1)
        return last[-1]["serial"] if last else 0

    def run(self, seconds):
        self.wait_boot()
        end, steps, now = time.monotonic() + seconds, 0, None
        while time.monotonic() < end or self.done.get("rounds", 0) < 3:
            for _ in range(30 if seconds < 5 else 100):
                self.step()
                steps += 1
                if time.monotonic() > end and steps >= 40:
                    break
            now = self.compare_holdings()
        summary = (f"{steps} steps, {self.done['rounds']} rounds, "
                   f"{self.done.get('reset', 0)} resets, "
                   f"{self.done.get('failed-reset', 0)} failed, "
                   f"{self.conversions()} conversions, {now}")
        # The guest was just reset, and has to do something before it may end.
        done, late = self.conversions(), time.monotonic() + TIMEOUT
        while self.conversions() < done + 64 and time.monotonic() < late:
            self.vm.pump(0.05)
        # Nothing is put away: an end with everything there leaks nothing either.
        self.vm.type("\n")
        self.vm.wait_for(r"^PASS$", TIMEOUT, self.booted)
        expect(self.vm.wait_end(TIMEOUT) == 0, "cloister's exit status")
        return summary

    def close(self):
        for client in self.rude:
            client.close()
        self.vm.close()
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
        os.rmdir(self.folder)


def soak(arguments, spelling, seconds, seed):
    machine = Soak(arguments, spelling, seed)
    if arguments.verbose:
        print(" ".join(machine.vm.command), flush=True)
    try:
        print(f"{spelling}: {machine.run(seconds)}", flush=True)
        return True
    except (VmError, OSError) as error:
        steps = " ".join(f"{name}={n}" for name, n in machine.done.items())
        print(f"{spelling}: FAILED: {error}\n--seed {arguments.seed} {spelling}: after {steps}\n"
              f"{' '.join(machine.vm.command)}", flush=True)
        return False
    finally:
        machine.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spellings", nargs="*", metavar="SPELLING",
                        help=f"{', '.join(SPELLINGS)}; all of them in turn unless given")
    parser.add_argument("--seconds", type=float, default=3600, help="in all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    spellings = arguments.spellings or list(SPELLINGS)
    for name in spellings:
        if name not in SPELLINGS:
            parser.error(f"no spelling {name}: {', '.join(SPELLINGS)}")
    print(f"seed {arguments.seed}", flush=True)
    for name in list(spellings):
        if lacks(name):
            print(f"{name}: skipped: {lacks(name)}")
            spellings.remove(name)
    if not spellings:
        return EXIT_SKIP
    results = [soak(arguments, name, arguments.seconds / len(spellings),
                    f"{arguments.seed} {name}") for name in spellings]
    return 0 if all(results) else 1


sys.exit(main())
