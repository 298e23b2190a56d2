"""A store's identity and its log. asl/FORMAT.md."""

import os
import struct

from pages.hashes import blake3, keyed_hash
from pages.structures import Damage


def read(store, name):
    with open(os.path.join(store, name), "rb") as file:
        return file.read()


def numbered(store, folder, extension):
    names = os.listdir(os.path.join(store, folder)) if os.path.isdir(os.path.join(store, folder)) else []
    stems = [name[:-len(extension)] for name in names if name.endswith(extension)]
    return sorted(int(stem) for stem in stems if len(stem) >= 8 and stem.isdigit())


def identity(store):
    text = read(store, "store")
    lines = text.decode(errors="replace").split("\n")
    title = "uor store format "
    if not lines[0].startswith(title) or not lines[0][len(title):].isdigit() or lines[0] == title + "0":
        raise Damage("identity", "store")
    if int(lines[0][len(title):]) > 1:
        raise Damage("newer_version", "store")
    federation = lines[1][len("federation "):] if len(lines) > 1 else ""
    if text != f"uor store format 1\nfederation {federation}\n".encode() or len(federation) != 64:
        raise Damage("identity", "store")
    return federation


def file_version(data, magic, number, name):
    """The version in a file header; None if there is no sound one."""
    header = data[:32]
    if len(header) < 32 or header[:8] != magic or header[10:12] != b"\0\0" or header[12:16] != struct.pack("<I", number) \
            or blake3(header[:16])[:16] != header[16:]:
        return None
    version = struct.unpack_from("<H", header, 8)[0]
    if not 1 <= version <= 2:
        raise Damage("newer", name)
    return version


def frame_header(data, segment, at):
    """Body length and role of the frame at `at`, if its header is valid."""
    header = data[at:at + 32]
    if len(header) < 32:
        return None
    position = struct.pack("<II", at, segment)
    check = keyed_hash(b"uor-asl log frame header check 1", position + header[:8] + header[16:])[:8]
    length, role = struct.unpack_from("<IxB", header)
    if check != header[8:16] or role > 3 or length > 64 << 20 or role in (1, 2) and length:
        return None
    return length, role


def frame(data, segment, at):
    """Role, kind, body and length of the frame at `at`, or None if there is no valid one."""
    found = frame_header(data, segment, at)
    if found is None:
        return None
    length, role = found
    whole = 32 + -(-length // 8) * 8
    body, padding = data[at + 32:at + 32 + length], data[at + 32 + length:at + whole]
    if at + whole > len(data) or padding.strip(b"\0"):
        return None
    position = struct.pack("<II", at, segment)
    check = keyed_hash(b"uor-asl log frame body check v 1", position + data[at:at + 8] + body)[:16]
    return (role, data[at + 4], body, whole) if check == data[at + 16:at + 32] else None


def walk(data, segment):
    """Entries, where the valid frames end, and the role of the last."""
    at, entries, last = 32, [], None
    while True:
        found = frame(data, segment, at)
        if found is None:
            return entries, at, last
        role, kind, body, whole = found
        if role == 0:
            entries.append((segment, at, kind, body))
        at, last = at + whole, role


def page_checks(role, identity_of, data):
    base, out = blake3(role.encode()), b""
    for page in range(0, -(-len(data) // 4096)):
        mixed = struct.unpack("<QQ", base[:16])
        key = struct.pack("<QQ", mixed[0] ^ identity_of, mixed[1] ^ page) + base[16:]
        out += keyed_hash(key, data[page * 4096:page * 4096 + 4096])[:8]
    return out


def closed_segment(data, number, name):
    version = file_version(data, b"UORLOG\0\0", number, name)
    if version is None:
        raise Damage("damaged", name, 0)
    pages = len(data) - 64
    start = pages - 8 * -(-pages // 4104)
    if version == 2:
        for role, at, length in ((2, len(data) - 32, 32), (3, start, len(data) - 32 - start)):
            found = frame(data, number, at) if at >= 32 else None
            if found is None or found[0] != role or found[3] != length:
                raise Damage("damaged", name, at)
    entries, end, last = walk(data, number)
    if end != len(data) or last != 2:
        raise Damage("damaged", name, end)
    if version == 2 and frame(data, number, start)[2] != page_checks("uor-asl log pages", number, data[:start]):
        raise Damage("damaged", name, start)
    return entries


def last_segment(data, number, name):
    """Entries and the torn tail, if there is one."""
    version = file_version(data, b"UORLOG\0\0", number, name)
    if version is None:
        if frame(data, number, 32) is not None:
            raise Damage("damaged", name, 0)
        return [], None
    entries, end, _ = walk(data, number)
    content = len(data.rstrip(b"\0"))
    if content <= end:
        return entries, None
    sound = frame_header(data, number, end)
    start = end + (32 + -(-sound[0] // 8) * 8 if sound else 0)
    for at in range(-(-start // 8) * 8, len(data) - 31, 8):
        if data[at:at + 5] == bytes(5) and data[at + 5] in (1, 2) and frame(data, number, at) is not None:
            raise Damage("damaged", name, end)
    return entries, {"file": name, "offset": end, "bytes": content - end}


def read_log(store):
    numbers, entries, torn = numbered(store, "log", ".log"), [], None
    for expected, number in enumerate(numbers, 1):
        if expected != number:
            raise Damage("missing", f"log/{expected:08}.log")
    # The last is looked at first: what is wrong there hides what is wrong before.
    found = {}
    for number in reversed(numbers):
        name = f"log/{number:08}.log"
        data = read(store, name)
        if number == numbers[-1]:
            found[number], torn = last_segment(data, number, name)
        else:
            found[number] = closed_segment(data, number, name)
    for number in numbers:
        entries += found[number]
    return entries, torn
