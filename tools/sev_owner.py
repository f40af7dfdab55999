#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the owner of a SEV guest does, apart from cloister and with nothing of its code.

  digest   what the launch of a kernel without firmware has to be: the SHA-256 of all that
           the guest starts from, by ascending address (docs/sev.md, "Measurement")
  session  keys for one guest on one platform: FOLDER/godh.b64, session.b64, tek.bin, tik.bin
  verify   the measurement that query-sev-launch-measure gives, against a digest
  secret   a packet for sev-inject-launch-secret, as its arguments in JSON

Sources: AMD's SEV API 0.24 (chapter 6, 2.2.2, appendix C), Linux's boot protocol.
"""
import argparse
import base64
import hashlib
import hmac
import json
import os
import struct
import sys

PAGE, KIB, MIB, GIB = 4096, 1 << 10, 1 << 20, 1 << 30
ACPI_SIZE = 64 * KIB
CERTIFICATE, KEY_AT, NUMBER, P384_BYTES = 0x824, 0x10, 72, 48


# --- The digest of a launch ---

def low_ram(ram):
    return ram if ram < 0xb0000000 else 0x80000000


def memory_map(ram):
    """(start, size, type) of e820: 1 RAM, 2 reserved, 3 ACPI, 4 ACPI NVS."""
    low = low_ram(ram)
    acpi = low - ACPI_SIZE
    rows = [(0, 0x9fc00, 1), (0x9fc00, 0x400, 2), (0xf0000, 0x10000, 2), (MIB, acpi - MIB, 1),
            (acpi, PAGE, 4), (acpi + PAGE, ACPI_SIZE - PAGE, 3), (0xb0000000, 256 * MIB, 2),
            (0xfeffc000, 4 * GIB - 0xfeffc000, 2), (4 * GIB, ram - low, 1)]
    return [row for row in rows if row[1]]


def boot_params(kernel, ram, initrd_at, initrd_size):
    """The page that the kernel finds by ESI (Linux: Documentation/arch/x86/zero-page.rst)."""
    page = bytearray(PAGE)
    size = min(0x202 + kernel[0x201] - 0x1f1, 0x290 - 0x1f1)
    page[0x1f1:0x1f1 + size] = kernel[0x1f1:0x1f1 + size]
    struct.pack_into("<Q", page, 0x70, low_ram(ram) - ACPI_SIZE + PAGE)         # RSDP
    struct.pack_into("<H", page, 0x1fa, 0xffff)                                 # vid_mode
    page[0x210] = 0xff                                                          # type_of_loader
    struct.pack_into("<I", page, 0x214, MIB)                                    # code32_start
    struct.pack_into("<II", page, 0x218, initrd_at, initrd_size)
    struct.pack_into("<I", page, 0x228, 0x10000)                                # cmd_line_ptr
    rows = memory_map(ram)
    page[0x1e8] = len(rows)
    for n, row in enumerate(rows):
        struct.pack_into("<QQI", page, 0x2d0 + 20 * n, *row)
    return bytes(page)


def place_initrd(kernel, ram, size):
    """As high as the kernel lets it be, below the ACPI tables."""
    limit = min(low_ram(ram) - ACPI_SIZE, struct.unpack_from("<I", kernel, 0x22c)[0] + 1)
    return limit - size & -PAGE if size else 0


def launch_pieces(kernel, initrd, append, ram, acpi):
    """(address, bytes) of all that is encrypted before the guest runs."""
    setup = ((kernel[0x1f1] or 4) + 1) * 512
    at = place_initrd(kernel, ram, len(initrd))
    acpi = acpi.rstrip(b"\0")
    pieces = [
        (0, bytes(PAGE)),
        (0x1000, struct.pack("<4Q", 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff)),
        (0x2000, boot_params(kernel, ram, at, len(initrd))),
        (0x10000, append.encode() + b"\0"),
        (MIB, kernel[setup:]),
        (low_ram(ram) - ACPI_SIZE, acpi),
    ]
    if initrd:
        pieces.append((at, initrd))
    return sorted(pieces)


def launch_digest(kernel, initrd, append, ram, acpi):
    digest = hashlib.sha256()
    for _, data in launch_pieces(kernel, initrd, append, ram, acpi):
        digest.update(data + bytes(-len(data) % PAGE))
    return digest.digest()


def measurement(tik, api, build, policy, digest, nonce):
    """HMAC of what LAUNCH_MEASURE covers; api: (major, minor)."""
    covered = struct.pack("<BBBBI", 4, *api, build, policy) + digest + nonce
    return hmac.digest(tik, covered, "sha256")


# --- A curve and a cipher ---

class P384:
    """y^2 = x^3 - 3x + b over p; points are pairs, None is the one at infinity."""

    P = 2**384 - 2**128 - 2**96 + 2**32 - 1
    N = int("ffffffffffffffffffffffffffffffffffffffffffffffff"
            "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
    G = (int("aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b98"
             "59f741e082542a385502f25dbf55296c3a545e3872760ab7", 16),
         int("3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147c"
             "e9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f", 16))

    @classmethod
    def add(cls, a, b):
        if a is None or b is None:
            return b if a is None else a
        if a[0] == b[0]:
            if (a[1] + b[1]) % cls.P == 0:
                return None
            slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, cls.P) % cls.P
        else:
            slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, cls.P) % cls.P
        x = (slope * slope - a[0] - b[0]) % cls.P
        return x, (slope * (a[0] - x) - a[1]) % cls.P

    @classmethod
    def multiply(cls, number, point):
        result = None
        while number:
            if number & 1:
                result = cls.add(result, point)
            point = cls.add(point, point)
            number >>= 1
        return result


def make_sbox():
    box, p, q = [0] * 256, 1, 1
    while True:
        p ^= (p << 1 ^ (0x11b if p & 0x80 else 0)) & 0x1ff
        p &= 0xff
        for shift in (1, 2, 4):
            q ^= q << shift & 0xff
        q ^= 0x09 if q & 0x80 else 0
        box[p] = 0x63 ^ q ^ ((q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5)
                             ^ (q << 4 | q >> 4)) & 0xff
        if p == 1:
            box[0] = 0x63
            return box


SBOX = make_sbox()


def aes_round_keys(key):
    words, constant = [list(key[i:i + 4]) for i in range(0, 16, 4)], 1
    for i in range(4, 44):
        word = list(words[-1])
        if i % 4 == 0:
            word = [SBOX[byte] for byte in word[1:] + word[:1]]
            word[0] ^= constant
            constant = constant << 1 ^ (0x11b if constant & 0x80 else 0)
        words.append([a ^ b for a, b in zip(words[-4], word)])
    return [sum(words[i:i + 4], []) for i in range(0, 44, 4)]


def double(byte):
    return (byte << 1 ^ (0x11b if byte & 0x80 else 0)) & 0xff


def aes_block(keys, block):
    state = [a ^ b for a, b in zip(block, keys[0])]
    for number, key in enumerate(keys[1:], 1):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 10:
            mixed = []
            for column in range(0, 16, 4):
                a = state[column:column + 4]
                mixed += [double(a[i]) ^ double(a[(i + 1) % 4]) ^ a[(i + 1) % 4]
                          ^ a[(i + 2) % 4] ^ a[(i + 3) % 4] for i in range(4)]
            state = mixed
        state = [a ^ b for a, b in zip(state, key)]
    return bytes(state)


def aes_ctr(key, iv, data):
    keys, counter, out = aes_round_keys(key), int.from_bytes(iv, "big"), bytearray()
    for at in range(0, len(data), 16):
        stream = aes_block(keys, (counter + at // 16 & 2**128 - 1).to_bytes(16, "big"))
        out += bytes(a ^ b for a, b in zip(data[at:at + 16], stream))
    return bytes(out)


# --- Sessions and secrets ---

def derive(key, label, context=b""):
    covered = struct.pack("<I", 1) + label + b"\0" + context + struct.pack("<I", 128)
    return hmac.digest(key, covered, "sha256")[:16]


def certificate(point):
    """The owner's: version 1, ECDH with SHA-256, P-384; nobody has to sign it."""
    cert = bytearray(CERTIFICATE)
    struct.pack_into("<IBB", cert, 0, 1, 0, 24)
    struct.pack_into("<III", cert, 8, 0x1003, 0x3, 2)
    for n, number in enumerate(point):
        start = KEY_AT + 4 + n * NUMBER
        cert[start:start + NUMBER] = number.to_bytes(NUMBER, "little")
    struct.pack_into("<II", cert, 0x414, 0x1000, 0)
    struct.pack_into("<II", cert, 0x414 + 0x208, 0x1000, 0)
    return bytes(cert)


def public_key(cert):
    return tuple(int.from_bytes(cert[KEY_AT + 4 + n * NUMBER:][:NUMBER], "little") for n in (0, 1))


def make_session(pdh, policy, random=os.urandom):
    """(certificate, session, TEK, TIK) for the platform whose PDH certificate this is."""
    own = int.from_bytes(random(64), "big") % (P384.N - 1) + 1
    shared = P384.multiply(own, public_key(pdh))[0].to_bytes(P384_BYTES, "big")
    nonce, iv, tek, tik = (random(16) for _ in range(4))
    master = derive(shared, b"sev-master-secret", nonce)
    wrapped = aes_ctr(derive(master, b"sev-kek"), iv, tek + tik)
    session = (nonce + wrapped + iv + hmac.digest(derive(master, b"sev-kik"), wrapped, "sha256")
               + hmac.digest(tik, struct.pack("<I", policy), "sha256"))
    return certificate(P384.multiply(own, P384.G)), session, tek, tik


def make_secret(tek, tik, measure, text, random=os.urandom):
    """(header, data): text, padded to whole blocks, for the guest with this measurement."""
    text += bytes(-len(text) % 16)
    iv, flags, size = random(16), bytes(4), struct.pack("<I", len(text))
    data = aes_ctr(tek, iv, text)
    mac = hmac.digest(tik, b"\1" + flags + iv + size + size + data + measure[:32], "sha256")
    return flags + iv + mac, data


# --- The program ---

def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)


def parse_size(text):
    units = {"K": KIB, "M": MIB, "G": GIB}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text) * MIB


def run_digest(args):
    print(launch_digest(read(args.kernel), read(args.initrd) if args.initrd else b"", args.append,
                        parse_size(args.memory), read(args.acpi)).hex())


def run_session(args):
    pdh = base64.b64decode(read(args.pdh))
    cert, session, tek, tik = make_session(pdh, int(args.policy, 0))
    os.makedirs(args.folder, exist_ok=True)
    for name, data in (("godh.b64", base64.b64encode(cert)),
                       ("session.b64", base64.b64encode(session)), ("tek.bin", tek),
                       ("tik.bin", tik)):
        write(os.path.join(args.folder, name), data)


def run_verify(args):
    blob = base64.b64decode(args.measurement)
    api = tuple(int(number) for number in args.api.split("."))
    wanted = measurement(read(os.path.join(args.folder, "tik.bin")), api, args.build,
                         int(args.policy, 0), bytes.fromhex(args.digest), blob[32:48])
    if not hmac.compare_digest(wanted, blob[:32]):
        sys.exit("the measurement is not that of this launch")
    print("the guest is what it should be")


def run_secret(args):
    blob = base64.b64decode(args.measurement)
    header, data = make_secret(read(os.path.join(args.folder, "tek.bin")),
                               read(os.path.join(args.folder, "tik.bin")), blob, read(args.file))
    print(json.dumps({"packet-header": base64.b64encode(header).decode(),
                      "secret": base64.b64encode(data).decode()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    digest = commands.add_parser("digest")
    for name, needed, text in (
            ("kernel", True, "a bzImage"), ("initrd", False, ""), ("append", False, ""),
            ("memory", True, "as -m: 512M"),
            ("acpi", True, "the 64 KiB at the end of low RAM: `pmemsave` of an ordinary VM "
                           "that is started with -S and otherwise alike")):
        digest.add_argument("--" + name, required=needed, default="", help=text)
    digest.set_defaults(run=run_digest)
    session = commands.add_parser("session")
    session.add_argument("--pdh", required=True, help="query-sev-capabilities' pdh, in base64")
    session.add_argument("--policy", default="0x1")
    session.add_argument("folder")
    session.set_defaults(run=run_session)
    verify = commands.add_parser("verify")
    verify.add_argument("--digest", required=True, help="in hexadecimal: of the first command")
    verify.add_argument("--measurement", required=True, help="query-sev-launch-measure's data")
    verify.add_argument("--policy", default="0x1")
    verify.add_argument("--api", required=True, help="query-sev's: 0.24")
    verify.add_argument("--build", required=True, type=int, help="likewise")
    verify.add_argument("folder", help="of the session")
    verify.set_defaults(run=run_verify)
    secret = commands.add_parser("secret")
    secret.add_argument("--measurement", required=True)
    secret.add_argument("folder", help="of the session")
    secret.add_argument("file")
    secret.set_defaults(run=run_secret)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
