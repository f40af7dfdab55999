# SPDX-License-Identifier: LGPL-2.1-or-later
"""devices.py --binary CLOISTER --files FOLDER [--accel kvm] CASE...: a kernel and its devices.

FOLDER has vmlinuz and initrd.gz (make guest-files); status 77 where something lacks.
memory-private takes a spelling of each kind; with --all every one there is, and prints a table.
"""
import hashlib
import os
import re
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import BACKEND_OPTIONS, BACKENDS, VmError, protected           # noqa: E402
from cases import parser_of, run_cases                                          # noqa: E402
from linux_guest import MIB, TIMEOUT, Guest, expect, image, tool     # noqa: E402


def disk(setting, folder):
    """An ext4 image is mounted, written, and read back by the host; a read-only one isn't written."""
    mkfs, debugfs = tool("mkfs.ext4"), tool("debugfs")
    root, readonly = image(folder, "root.img", 16 * MIB), image(folder, "ro.img", MIB)
    subprocess.run([mkfs, "-q", "-F", root], check=True, timeout=60)
    with Guest(setting, "-drive", f"file={root},format=raw,if=none,id=d0",
               "-device", "virtio-blk-pci,drive=d0,id=b0,serial=abc",
               "-blockdev", f"driver=file,filename={readonly},node-name=d1,read-only=on",
               "-device", "virtio-blk-pci,drive=d1",
               "-device", "virtio-rng-pci,id=r0,vectors=0") as vm:
        vm.prompt()
        vm.run("modules")
        expect(vm.run("cat /sys/block/vda/serial; echo").strip() == "abc", "GET_ID")
        expect(vm.run("head -c 1000 /dev/hwrng | wc -c").strip() == "1000", "no random numbers")
        vm.run("mount -t ext4 /dev/vda /mnt && seq 1 30000 > /mnt/numbers && sync")
        vm.run("echo 3 > /proc/sys/vm/drop_caches; seq 1 30000 | cmp - /mnt/numbers")
        vm.run("rm /mnt/numbers && fstrim /mnt && seq 1 9 > /mnt/small && umount /mnt")
        expect("1" in vm.run("cat /sys/block/vdb/ro"), "read-only")
        vm.run("! dd if=/dev/zero of=/dev/vdb bs=512 count=1")
        expect(vm.dma("b0")["refused-dma"] == 0, "refused accesses in an ordinary VM")
        vm.power_off()
    text = subprocess.run([debugfs, "-R", "cat small", root], check=True, timeout=60,
                          capture_output=True, text=True).stdout
    expect(text.split() == [str(n) for n in range(1, 10)], f"the host reads {text!r}")


def hotplug(setting, folder):
    """A disk comes and goes while the guest runs; then a reset with an unplug pending."""
    path = image(folder, "hot.img", MIB)
    with Guest(setting, "-device", "virtio-rng-pci,id=cold",
               "-drive", f"file={image(folder, 'cold.img', MIB)},format=raw,if=virtio") as vm:
        qmp = vm.qmp
        vm.prompt()
        vm.run("modules")
        qmp.command("blockdev-add", **{"driver": "raw", "node-name": "hot",
                                       "file": {"driver": "file", "filename": path}})
        qmp.command("device_add", driver="virtio-blk-pci", id="b1", drive="hot", addr="1e")
        vm.wait_for(r"\[vdb\]", TIMEOUT)
        vm.run("seq 1 100000 | head -c 65536 > /dev/vdb && sync")
        reply = qmp.execute("blockdev-del", **{"node-name": "hot"})
        expect("in use" in reply.get("error", {}).get("desc", ""), f"blockdev-del: {reply}")
        qmp.command("device_del", id="b1")
        vm.event("DEVICE_DELETED", "b1")
        vm.run("! ls /dev/vdb")
        qmp.command("blockdev-del", **{"node-name": "hot"})
        expect("b1" not in qmp.hmp("info pci"), "still there")
        with open(path, "rb") as file:
            expect(file.read(12) == b"1\n2\n3\n4\n5\n6\n", "what the guest wrote isn't in the file")
        # Whoever asks to unplug and then resets doesn't find the device any more.
        qmp.command("stop")
        qmp.command("device_del", id="cold")
        qmp.command("system_reset")
        vm.event("DEVICE_DELETED", "cold")
        qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


def serial(setting, folder):
    """A console and a port over virtio, both ways, more than fits into any queue; a port comes late."""
    sock, late = os.path.join(folder, "port"), os.path.join(folder, "late")
    with Guest(setting, "-device", "virtio-serial-pci,id=s0",
               "-chardev", f"socket,id=c0,path={sock},server=on,wait=off",
               "-chardev", f"file,id=c1,path={folder}/console",
               "-chardev", f"file,id=c2,path={late}",
               "-device", "virtconsole,chardev=c1",
               "-device", "virtserialport,chardev=c0,name=org.test.0,id=p0") as vm:
        vm.prompt()
        vm.run("modules")
        vm.run("grep -q org.test.0 /sys/class/virtio-ports/vport0p1/name")
        vm.run("seq 1 3000 > /dev/hvc0")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(sock)
            client.settimeout(TIMEOUT)
            # The guest counts what comes, and answers.
            vm.type("head -c 300000 /dev/vport0p1 | md5sum > /sum; cat /sum > /dev/vport0p1\n")
            data = bytes(i * 7 % 251 for i in range(300000))
            client.sendall(data)
            answer = client.makefile("rb").readline().split()[0].decode()
            expect(answer == hashlib.md5(data).hexdigest(), f"sum {answer}")
        vm.qmp.hmp("device_add virtserialport,id=p2,chardev=c2,name=late")
        vm.run("while ! [ -e /dev/vport0p2 ]; do sleep 0.1; done; echo hello > /dev/vport0p2")
        vm.qmp.command("device_del", id="p2")
        vm.event("DEVICE_DELETED", "p2")
        vm.run("while [ -e /dev/vport0p2 ]; do sleep 0.1; done")
        vm.power_off()
    for name, text in (("late", "hello\n"),
                       ("console", "".join(f"{n}\r\n" for n in range(1, 3001)))):
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
            expect(file.read() == text, f"what came out of the {name} port is something else")


def private(setting, folder):
    """A kernel that knows nothing of conversions: its rings are private, which is no harm."""
    path = image(folder, "disk.img", MIB)
    with Guest(setting, "-drive", f"file={path},format=raw,if=none,id=d0",
               "-device", "virtio-blk-pci,drive=d0,id=b0",
               "-d", "trace:virtio_broken", memory=protected("guest-memfd", "256M")) as vm:
        vm.prompt()
        vm.run("modules > /dev/null 2>&1 &")
        deadline = time.monotonic() + TIMEOUT
        while not (state := vm.dma("b0"))["needs-reset"] and time.monotonic() < deadline:
            vm.pump(0.2)
        expect(state["refused-dma"] >= 1 and state["needs-reset"], f"the device: {state}")
        expect(vm.run("echo $((6 * 7))").strip() == "42", "the guest doesn't go on")
        # Its sync would wait for the disk.
        vm.qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, "quit")
        expect("virtio_broken virtio-blk \"b0\": a ring can't be read" in vm.errors(),
               f"no trace: {vm.errors()}")


class MemoryGuest(Guest):
    """A guest whose memory grows and shrinks; hot-added memory is onlined as movable."""

    APPEND = "memhp_default_state=online_movable"

    def memory(self, device="vm0"):
        return next(d["data"] for d in self.qmp.command("query-memory-devices")
                    if d["data"].get("id") == device)

    def request(self, size, device="vm0"):
        """Ask for it and wait until the guest has plugged exactly that."""
        self.qmp.command("qom-set", path=f"/machine/peripheral/{device}",
                         property="requested-size", value=size)
        deadline = time.monotonic() + TIMEOUT
        while self.memory(device)["size"] != size:
            if time.monotonic() > deadline:
                raise VmError(f"{device} has {self.memory(device)}, not {size}")
            self.pump(0.2)

    def total(self):
        """MiB that the guest's kernel has."""
        # The kernel's own lines may come between.
        text = self.run("free -m")
        found = re.search(r"^Mem:\s+(\d+)", text, re.MULTILINE)
        expect(found, f"free says: {text}")
        return int(found.group(1))

    def size_events(self):
        self.qmp.command("query-status")
        return [e["data"]["size"] for e in self.qmp.events
                if e["event"] == "MEMORY_DEVICE_SIZE_CHANGE"]


def memory(setting, folder):
    """256 MiB to 1 GiB and back by virtio-mem, with the kernel's own driver; then hot-plug."""
    del folder
    with MemoryGuest(setting, "-object", "memory-backend-ram,id=m0,size=768M",
                     "-device", "virtio-mem-pci,id=vm0,memdev=m0",
                     memory=("-m", "256M,maxmem=2G")) as vm:
        qmp = vm.qmp
        vm.prompt()
        vm.run("modules")
        small = vm.total()
        vm.request(768 * MIB)
        expect(vm.total() > small + 700, f"the guest has {vm.total()} MiB")
        # Fill what is new, so that it is memory.
        vm.run("mkdir -p /big && mount -t tmpfs -o size=700m none /big && "
               "dd if=/dev/zero of=/big/zeroes bs=1M count=64 && "
               "seq 1 20000 > /big/numbers && seq 1 20000 | cmp - /big/numbers")
        expect("plugged memory: 805306368" in qmp.hmp("info memory_size_summary"), "summary")
        expect("  requested-size: 805306368\n" in qmp.hmp("info memory-devices"), "HMP")
        reply = qmp.execute("device_del", id="vm0")
        expect("still plugged" in reply.get("error", {}).get("desc", ""), f"device_del: {reply}")
        for value in (1, 768 * MIB + 2 * MIB, "x", -1):
            reply = qmp.execute("qom-set", path="vm0", property="requested-size", value=value)
            expect("error" in reply, f"requested-size {value}: {reply}")
        vm.run("umount /big")
        vm.request(0)
        expect(vm.total() == small, f"the guest has {vm.total()} MiB, had {small}")
        # One event a second, the last one says how it is.
        vm.run("sleep 2")
        sizes = vm.size_events()
        expect(sizes[-1] == 0 and len(sizes) < 30, f"events: {sizes}")
        qmp.command("device_del", id="vm0")
        vm.event("DEVICE_DELETED", "vm0")
        qmp.command("object-del", id="m0")
        expect(qmp.command("query-memory-devices") == [], "still there")

        # Another one comes while the guest runs, plugged at once; a reset takes it all back.
        qmp.command("object-add", **{"qom-type": "memory-backend-memfd", "id": "m1",
                                     "size": 512 * MIB})
        qmp.command("device_add", driver="virtio-mem-pci", id="vm1", memdev="m1", prealloc=True,
                    **{"block-size": 4 * MIB, "requested-size": 256 * MIB})
        vm.request(256 * MIB, "vm1")
        expect(vm.total() > small + 200, f"the guest has {vm.total()} MiB")
        qmp.command("stop")
        qmp.command("system_reset")
        state = vm.memory("vm1")
        expect(state["size"] == 0 and state["requested-size"] == 256 * MIB, f"reset: {state}")
        qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


class PrivateMemoryGuest(MemoryGuest):
    """The stock kernel in a protected VM: all its DMA goes through a swiotlb that is shared for it."""

    APPEND = MemoryGuest.APPEND + " swiotlb=1024,force"

    def share_bounce_buffers(self):
        found = re.search(r"software IO TLB: mapped \[mem 0x(\w+)-0x(\w+)\]", self.console)
        expect(found, "the kernel says nothing of its swiotlb")
        start, end = (int(text, 16) & ~4095 for text in found.groups())
        self.qmp.command("x-convert-memory", gpa=start, size=end - start, to="shared")

    def ranges(self, block):
        blocks = self.qmp.command("x-query-ramblock-attributes")
        return [(r["start"], r["length"], r["shared"], r["populated"])
                for b in blocks if b["name"] == block for r in b["ranges"]]

    def cost(self, block):
        return next(c for c in self.qmp.command("x-query-memory-cost") if c["name"] == block)


class Table:
    """A row for each step: what the map, the backings, the history and the events say."""

    ROW = "{:15} {:8} {:>8} {:>7} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>7} {:>7}"

    def __init__(self, spelling, wanted):
        self.spelling, self.wanted = spelling, wanted
        self.since = time.monotonic()

    @classmethod
    def head(cls):
        print(cls.ROW.format("spelling", "step", "plugged", "guest", "private", "shared", "ranges",
                             "held-p", "held-s", "doubly", "convers", "seconds"))

    def step(self, vm, name, hot):
        if not self.wanted:
            return
        ranges, cost = vm.ranges(hot), vm.cost(hot)
        last = vm.qmp.command("x-query-conversions", limit=1)
        held = [str(cost[key] // MIB) if key in cost else "?"
                for key in ("private", "shared", "doubly-held")]
        now = time.monotonic()
        print(self.ROW.format(
            self.spelling, name, vm.memory()["size"] // MIB, vm.total(),
            sum(length for _, length, shared, _ in ranges if not shared) // MIB,
            sum(length for _, length, shared, _ in ranges if shared) // MIB, len(ranges), *held,
            last[0]["serial"] if last else 0, f"{now - self.since:.1f}"), flush=True)
        self.since = now


def check_grown(vm, hot, small):
    expect(vm.total() > small + 700, f"the guest has {vm.total()} MiB")
    vm.run("mkdir -p /big && mount -t tmpfs -o size=700m none /big && "
           "dd if=/dev/zero of=/big/zeroes bs=1M count=230 2> /dev/null && "
           "seq 1 10000 > /big/numbers && seq 1 10000 | cmp - /big/numbers")
    cost = vm.cost(hot)
    held = cost["shared"] + cost.get("private", 0)
    expect(held > MIB and not cost.get("doubly-held"), f"grown: {cost}")


def check_shrunk(vm, hot, small):
    expect(vm.total() == small, f"the guest has {vm.total()} MiB, had {small}")
    cost = vm.cost(hot)
    expect(cost["shared"] == 0 and not cost.get("private"), f"shrunk: {cost}")
    causes = {c["cause"] for c in vm.qmp.command("x-query-conversions", limit=1000)}
    expect({"host", "unplug"} <= causes, f"history: {causes}")
    dma = vm.dma("vm0")
    expect(dma["requests"] > 4 and not dma["refused-dma"], f"dma: {dma}")
    vm.run("sleep 2")
    expect(vm.size_events()[-1] == 0, f"events: {vm.size_events()}")


def grow_private(setting, spelling):
    """256 MiB to 1 GiB and back: map, cost and history after each step."""
    size, unplugged = 768 * MIB, [(0, 768 * MIB, False, False)]
    backend, _, regime = spelling.partition("/")
    table = Table(spelling, setting.all)
    with PrivateMemoryGuest(
            setting, *(["-accel", f"soft,memory-attributes={regime}"] if regime else []),
            "-object", f"{BACKEND_OPTIONS[backend]},id=m0,size=768M",
            "-device", "virtio-mem-pci,id=vm0,addr=5,memdev=m0,x-share-rings=on",
            memory=[*protected(backend, "256M"), "-m", "maxmem=1G"]) as vm:
        hot = "0000:00:05.0/m0"
        vm.prompt()
        vm.share_bounce_buffers()
        vm.run("modules")
        small = vm.total()
        expect(vm.ranges(hot) == unplugged, f"at first: {vm.ranges(hot)}")
        table.step(vm, "256 MiB", hot)
        # What somebody shares before it is plugged is private when it is.
        gpa = vm.memory()["memaddr"]
        vm.qmp.command("x-convert-memory", gpa=gpa + 4 * MIB, size=2 * MIB, to="shared")
        expect((4 * MIB, 2 * MIB, True, False) in vm.ranges(hot), f"shared: {vm.ranges(hot)}")
        vm.request(size)
        expect(vm.ranges(hot) == unplugged, f"plugged: {vm.ranges(hot)}")
        check_grown(vm, hot, small)
        table.step(vm, "1 GiB", hot)
        vm.run("umount /big")
        vm.request(0)
        expect(vm.ranges(hot) == unplugged, f"shrunk: {vm.ranges(hot)}")
        check_shrunk(vm, hot, small)
        table.step(vm, "256 MiB", hot)
        vm.request(64 * MIB)
        vm.qmp.command("stop")
        vm.qmp.command("system_reset")
        expect(vm.ranges(hot) == unplugged and vm.memory()["size"] == 0, "after a reset")
        expect(all(not shared for _, _, shared, _ in vm.ranges("mem0")), "shared after a reset")
        vm.qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


def free_huge_pages():
    with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as file:
        return int(file.read())


def memory_private(setting, folder):
    """Memory that comes and goes in a protected VM, in each spelling."""
    del folder
    spellings = [*BACKEND_OPTIONS, "private/vm2"] if setting.all else BACKENDS
    if setting.all:
        Table.head()
    for spelling in spellings:
        if spelling == "private-hugetlb" and free_huge_pages() < 1024 // 2:
            print(f"{spelling}: skipped: lacks 512 free huge pages, has {free_huge_pages()}: "
                  "nr_hugepages")
            continue
        grow_private(setting, spelling)
        print(f"{spelling}: ok", flush=True)


CASES = {"disk": disk, "hotplug": hotplug, "memory": memory, "memory-private": memory_private,
         "private": private, "serial": serial}


def main():
    parser = parser_of(CASES, __doc__)
    parser.add_argument("--accel", default="soft")
    parser.add_argument("--all", action="store_true", help="memory-private: every spelling")
    return run_cases(CASES, parser.parse_args(), "vmlinuz", "initrd.gz", "modules/order")


sys.exit(main())
