"""The index, which can be rebuilt: whether what is in it follows from log and packs. asl/FORMAT.md, "Index"."""

import os
import struct

from pages.archive import CHECKPOINT, root_of
from pages.files import page_checks, read
from pages.hashes import blake3, derive_key, keyed_hash


def check_index(store, entries):
    """What is wrong with the files that the checkpoint names; the checkpoint itself, or None where there is none."""
    if not os.path.exists(os.path.join(store, "index/checkpoint")):
        return [], None
    data = read(store, "index/checkpoint")
    if data[:16] != b"UORCKPT\0\3\0" + bytes(6) or blake3(data[48:]) != data[16:48]:
        return ["checkpoint"], None
    checkpoint, wrong = root_of(data[48:], CHECKPOINT), []
    for run in checkpoint["runs"]:
        for shard, seal in enumerate(run["seals"]):
            name = f"index/{run['number']:08}-{shard:05}.run"
            data = read(store, name)
            identity_of = run["number"] << 32 | shard
            pages = -(-(len(data) - 16) // 4104)
            content, checks = data[:len(data) - 16 - 8 * pages], data[len(data) - 16 - 8 * pages:-16]
            made = keyed_hash(b"uor-asl index segment seal, v. 1",
                              struct.pack("<QQ", identity_of, len(content)) + checks)[:16]
            if data[:10] != b"UORINDEX\1\0" or made != data[-16:] or made.hex() != seal \
                    or checks != page_checks("uor-asl index segment page v1", identity_of, content):
                wrong.append(name)
    hashes = {struct.pack("<II", at, segment): body for segment, at, kind, body in entries if kind == 1}
    ordinals = {bytes.fromhex(domain["key"]): ordinal for ordinal, domain in enumerate(checkpoint["domains"])}
    for run in checkpoint["runs"]:
        wrong += [] if wrong else wrong_lookups(store, run, records_in(entries, run["range"], ordinals))
    for ordinal, domain in enumerate(checkpoint["domains"]):
        name = f"index/{ordinal:08}.commits"
        data = read(store, name)
        for number in range(1, domain["value"] + 1):
            row = data[56 * (number - 1):56 * number]
            check = keyed_hash(b"uor-asl commit table row check 1",
                               bytes.fromhex(domain["key"]) + struct.pack("<Q", number) + row[:48])[:8]
            body = hashes.get(row[:8], b"")
            if check != row[48:] or body[80:88] != row[8:16] or derive_key("uor 2026-11 commit v1", body[:176]) != row[16:48]:
                wrong.append(name)
                break
    return wrong, checkpoint


def records_in(entries, within, ordinals):
    """What a range of the log has records of: id, place of the record, its class and its commit."""
    for segment, at, kind, body in entries:
        if kind != 1 or not within["from"] <= segment << 32 | at < within["to"]:
            continue
        commit = struct.pack("<IIQQ", ordinals[body[8:40]], 0, *struct.unpack_from("<Q", body, 40), *struct.unpack_from("<Q", body, 80))
        learned, count = struct.unpack_from("<II", body, 132)
        place = 240 + 32 * learned
        for _ in range(count):
            yield body[place:place + 32], (segment, at + 32 + place), body[place + 32:place + 34] + b"\0\0" + body[place + 36:place + 40], commit
            place += 84 + struct.unpack_from("<I", body, place + 80)[0]


class Segment:
    """The records of a shard in a run."""

    def __init__(self, data):
        (self.shard_bits, self.class_width, self.commit_width, classes, self.lines, self.overflow, self.records, commits,
         strides) = struct.unpack_from("<BBB7xIQQQQI", data, 10)
        slots, at, self.sections = 10 * self.lines + self.overflow, 64, []
        for length in (64 * self.lines, 16 * self.overflow, slots * self.class_width, slots * self.commit_width, 8 * classes,
                       24 * commits, 8 * strides):
            at = -(-at // 64) * 64
            self.sections.append(data[at:at + length])
            at += length

    def item(self, section, width, index):
        return self.sections[section][width * index:width * (index + 1)]

    def slots_of(self, name):
        """Numbers and addresses of the slots in which a record of this id may be."""
        p = int.from_bytes(name[:8], "big") << self.shard_bits & (1 << 64) - 1
        product = p * self.lines
        home, fingerprint = product >> 64, product >> 48 & 0xFFFF
        meta = struct.unpack_from("<I", self.item(0, 64, home), 60)[0]
        for line in range(home, home + (meta >> 24 & 15) + 1):
            own = self.item(0, 64, line)
            low = struct.unpack_from("<I", own, 60)[0]
            for slot in range(low >> 20 & 15):
                if struct.unpack_from("<H", own, 2 * slot)[0] == fingerprint:
                    upper = struct.unpack_from("<I", own, 20 + 4 * slot)[0]
                    yield 10 * line + slot, upper << 2 | low >> 2 * slot & 3
        for index in range(self.overflow if meta >> 28 & 1 else 0):
            prefix, address = struct.unpack("<QQ", self.item(1, 16, index))
            if prefix == p:
                yield 10 * self.lines + index, address

    def says(self, slot, address):
        """Where the record of a slot is, its class and its commit."""
        segment, start = struct.unpack("<II", self.item(6, 8, address >> 25))
        kind = int.from_bytes(self.item(2, self.class_width, slot), "little")
        commit = int.from_bytes(self.item(3, self.commit_width, slot), "little")
        return (segment, start + (address & (1 << 25) - 1)), self.item(4, 8, kind), self.item(5, 24, commit)


def wrong_lookups(store, run, records):
    """Segments of a run that do not find what is in its range of the log, or hold more."""
    bits = (len(run["seals"]) - 1).bit_length()
    names = [f"index/{run['number']:08}-{shard:05}.run" for shard in range(len(run["seals"]))]
    segments = [Segment(read(store, name)) for name in names]
    counts, wrong = [0] * len(names), set()
    for name, *wanted in records:
        shard = int.from_bytes(name[:8], "big") >> 64 - bits
        counts[shard] += 1
        if tuple(wanted) not in [segments[shard].says(*slot) for slot in segments[shard].slots_of(name)]:
            wrong.add(names[shard])
    wrong |= {name for name, segment, count in zip(names, segments, counts) if segment.records != count}
    return sorted(wrong)
