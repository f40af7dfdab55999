# SPDX-License-Identifier: LGPL-2.1-or-later
"""A reader of makedumpfile's files: the compressed form, flattened or not, as its
IMPLEMENTATION document describes them.  Knows nothing of who wrote them.
"""
import struct
import zlib

FLAT_SIGNATURE = b"makedumpfile\0\0\0\0"


class Bad(Exception):
    """The file isn't what it should be."""


def need(condition, what):
    if not condition:
        raise Bad(what)


def unflatten(data):
    """What `makedumpfile -R` makes of a flattened file."""
    need(data[:16] == FLAT_SIGNATURE and struct.unpack_from(">qq", data, 16) == (1, 1),
         "a flattened file, type 1, version 1")
    at, pieces = 4096, []
    while True:
        need(at + 16 <= len(data), "a piece's head")
        offset, size = struct.unpack_from(">qq", data, at)
        at += 16
        if (offset, size) == (-1, -1):
            break
        need(offset >= 0 and size > 0 and at + size <= len(data), f"a piece at {offset}, {size}")
        pieces.append((offset, data[at:at + size]))
        at += size
    need(at == len(data), "nothing after the last piece")
    whole = bytearray(max(offset + len(piece) for offset, piece in pieces))
    for offset, piece in pieces:
        whole[offset:offset + len(piece)] = piece
    return bytes(whole)


def read_notes(data):
    """(name, type, content) of ELF notes one after another."""
    notes, at = [], 0
    while at < len(data):
        name_size, size, kind = struct.unpack_from("<III", data, at)
        name = data[at + 12:at + 12 + name_size - 1].decode()
        at += 12 + (name_size + 3 & ~3)
        need(at + size <= len(data), "a note's end")
        notes.append((name, kind, data[at:at + size]))
        at += size + 3 & ~3
    return notes


class Kdump:
    """A file that isn't flattened, as bytes."""

    def __init__(self, data):
        self.data = data
        need(data[:8] == b"KDUMP   ", "the signature")
        self.version, = struct.unpack_from("<i", data, 8)
        need(self.version == 6, f"version {self.version}")
        names = [data[12 + 65 * n:12 + 65 * n + 65].split(b"\0")[0].decode() for n in range(6)]
        self.names = dict(zip(("sysname", "nodename", "release", "version", "machine", "domain"),
                              names))
        (self.status, self.block, sub_blocks, bitmap_blocks, self.max_mapnr, self.ram_blocks, _,
         self.written_blocks, _, self.cpus) = struct.unpack_from("<IiiIIIIIIi", data, 424)
        need(self.block == 4096 and sub_blocks > 0 and bitmap_blocks % 2 == 0, "sizes in blocks")
        self.sub = dict(zip(
            ("phys_base", "dump_level", "split", "start_pfn", "end_pfn", "vmcoreinfo_offset",
             "vmcoreinfo_size", "note_offset", "note_size", "erase_offset", "erase_size",
             "start_pfn_64", "end_pfn_64", "max_mapnr_64"),
            struct.unpack_from("<QIIQQQQQQQQQQQ", data, self.block)))
        self.pfns = self.sub["max_mapnr_64"]
        bitmaps = (1 + sub_blocks) * self.block
        size = bitmap_blocks // 2 * self.block
        need(size * 8 >= self.pfns, "bitmaps for all pages")
        self.ram = data[bitmaps:bitmaps + size]
        self.dumped = data[bitmaps + size:bitmaps + 2 * size]
        need(all(d & ~r == 0 for d, r in zip(self.dumped, self.ram)), "what is dumped is RAM")
        self.descriptors = bitmaps + 2 * size
        self.pages = [pfn for pfn in range(self.pfns) if self.bit(self.dumped, pfn)]
        self.index = {pfn: n for n, pfn in enumerate(self.pages)}
        self.first_data = self.descriptors + 24 * len(self.pages)
        self.notes = read_notes(data[self.sub["note_offset"]:][:self.sub["note_size"]])

    @staticmethod
    def bit(bitmap, pfn):
        return bitmap[pfn // 8] >> pfn % 8 & 1

    def is_ram(self, gpa):
        return gpa // 4096 < self.pfns and bool(self.bit(self.ram, gpa // 4096))

    def descriptor(self, pfn):
        return struct.unpack_from("<QIIQ", self.data, self.descriptors + 24 * self.index[pfn])

    def page(self, pfn):
        """None: the file hasn't got it."""
        if pfn not in self.index:
            return None
        offset, size, flags, _ = self.descriptor(pfn)
        need(offset >= self.first_data and offset + size <= len(self.data) and
             0 < size <= self.block, f"page {pfn:#x}: {size} bytes at {offset}")
        content = self.data[offset:offset + size]
        if flags:
            need(flags == 1, f"page {pfn:#x}: flags {flags}")
            content = zlib.decompress(content)
        need(len(content) == self.block, f"page {pfn:#x}: {len(content)} bytes")
        return content

    def physical(self, gpa, size):
        out = b""
        for pfn in range(gpa // 4096, (gpa + size + 4095) // 4096):
            content = self.page(pfn)
            if content is None:
                return None
            out += content
        return out[gpa % 4096:][:size]

    def vmcoreinfo(self):
        return self.data[self.sub["vmcoreinfo_offset"]:][:self.sub["vmcoreinfo_size"]].decode()
