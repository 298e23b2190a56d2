"""Payloads: packs, their list and their index. asl/FORMAT.md, "Blocks"."""

import os
import struct

from pages.files import file_version, numbered, page_checks, read
from pages.hashes import blake3, keyed_hash
from pages.structures import Damage, need

WHOLE, PART, MANIFEST, MARK, SEAL, ERASED, DROPPED, ZEROED = range(1, 9)


class Block:
    """A block whose header is valid and that lies inside its file."""

    def __init__(self, data, pack, at):
        header = data[at:at + 64]
        need(len(header) == 64, "cut")
        check = keyed_hash(b"uor-asl block header check v.1  ", struct.pack("<IQ", pack, at) + header[:48])[:16]
        need(check == header[48:], "the check of the header")
        self.stored, self.raw, self.kind, self.codec = struct.unpack_from("<IIBB", header)
        need(1 <= self.kind <= 8 and self.codec < 2 and header[10:16] == bytes(6), "kind, codec or reserved bytes")
        need(self.raw <= (4 << 20 if self.kind in (WHOLE, PART) else 64 << 20 if self.kind in (MANIFEST, ERASED, DROPPED) else 0)
             and self.stored <= self.raw, "a length")
        self.name, self.place = header[16:48], (pack, at)
        self.end = at + 64 + -(-self.stored // 8) * 8
        need(self.end <= len(data), "a block behind the end")
        self.bytes = data[at + 64:at + 64 + self.stored]

    @property
    def vouches(self):
        return struct.unpack_from("<Q", self.name)[0] if self.kind in (MARK, SEAL) else None


def block_at(data, pack, at):
    try:
        return Block(data, pack, at)
    except Exception as refused:  # of the reader's own kind; anything else is a defect
        if type(refused).__name__ != "Refused":
            raise
        return None


def read_pack(data, pack, is_last):
    """The blocks of a pack, and where it is damaged."""
    blocks, damages, at = [], [], 32
    while at < len(data):
        block = block_at(data, pack, at)
        if block:
            blocks.append(block)
            at = block.end
            continue
        behind = [found for found in (block_at(data, pack, place) for place in range(-(-at // 8) * 8, len(data), 8)) if found]
        if is_last and not any(found.vouches is not None and found.vouches > at for found in behind):
            break
        damages.append(at)
        at = behind[0].place[1] if behind else len(data)
    if not is_last and (not blocks or blocks[-1].kind != SEAL):
        damages.append(at)
    return blocks, damages


def listed(store):
    """The last pack that was begun, and the ranges that were removed; None without a list, a word if it is damaged."""
    if not os.path.exists(os.path.join(store, "blocks/packs.list")):
        return None
    data = read(store, "blocks/packs.list")
    if data[:12] != b"UORPLST\0\1\0\0\0" or blake3(data[:-32]) != data[-32:]:
        return "damaged"
    last, count = struct.unpack_from("<II", data, 12)
    return last, [struct.unpack_from("<II", data, 20 + 8 * at) for at in range(count)]


def places_in(block):
    """The places that an erased or dropped record names; None if it takes zstd to say."""
    if block.codec:
        return None
    need(blake3(block.name + block.bytes[:-32]) == block.bytes[-32:], "the check of places")
    return [struct.unpack_from("<IQ", block.bytes, 8 + 12 * at) for at in range(struct.unpack_from("<I", block.bytes)[0])]


class Packs:
    """All packs of a store. `visible` and `erased` are None where it takes zstd to say."""

    def __init__(self, store):
        files = numbered(store, "blocks", ".pack")
        list_found = listed(store)
        self.blocks, self.damages, self.lengths = [], [], {}
        if list_found == "damaged":
            # Which packs were removed is not known then.
            self.damages.append({"file": "blocks/packs.list", "offset": 0})
            gaps = [number for number in range(1, max(files, default=0) + 1) if number not in files]
            list_found = max(files, default=0), [(gap, gap) for gap in gaps]
        last, removed = list_found or (max(files, default=0), [])
        begun = [number for number in range(1, last + 1) if not any(low <= number <= high for low, high in removed)]
        missing = [number for number in begun if number not in files]
        self.damages += [{"file": f"blocks/{number:08}.pack", "offset": 0} for number in missing]
        self.packs = [number for number in files if number in begun or number > last]
        for number in self.packs:
            name = f"blocks/{number:08}.pack"
            data = read(store, name)
            if file_version(data, b"UORPACK\0", number, name) is None:
                raise Damage("damaged", name, 0)
            blocks, damages = read_pack(data, number, number == self.packs[-1])
            self.blocks += blocks
            self.lengths[number] = len(data)
            self.damages += [{"file": name, "offset": at} for at in damages]
        self.bury()
        self.check_chunks()
        self.damages.sort(key=lambda damage: (damage["file"], damage["offset"]))

    def bury(self):
        places = [places_in(block) for block in self.blocks if block.kind in (ERASED, DROPPED)]
        self.visible = self.erased = None
        self.dead = None
        if None in places:
            return
        self.dead = {place for some in places for place in some}
        self.live = [block for block in self.blocks if block.place not in self.dead]
        last = {block.name.hex(): block.kind for block in self.live if block.kind in (WHOLE, MANIFEST, ERASED)}
        self.visible = {name for name, kind in last.items() if kind != ERASED}
        self.erased = {name for name, kind in last.items() if kind == ERASED}

    def check_chunks(self):
        """Holds raw bytes to their names, and raw manifests to the chunks that are there."""
        live = self.live if self.dead is not None else self.blocks
        chunks = {(block.name, block.raw) for block in live if block.kind in (WHOLE, PART)}
        for block in live:
            if block.codec or block.kind not in (WHOLE, PART, MANIFEST):
                continue
            if block.kind == MANIFEST:
                is_sound = manifest_of(block.bytes, block.name) <= chunks
            else:
                is_sound = blake3(block.bytes) == block.name
            if not is_sound:
                self.damages.append({"file": f"blocks/{block.place[0]:08}.pack", "offset": block.place[1]})


def manifest_of(data, name):
    """The chunks of a payload, each by its name and length."""
    length, count, zero = struct.unpack_from("<QII", data, 32)
    need(data[:32] == name and zero == 0 and len(data) == 48 + 36 * count + 32, "the layout of a manifest")
    need(blake3(data[:-32]) == data[-32:], "the check of a manifest")
    chunks = [(data[at:at + 32], struct.unpack_from("<I", data, at + 32)[0]) for at in range(48, len(data) - 32, 36)]
    need(sum(size for _, size in chunks) == length, "the length of a manifest")
    return set(chunks)


def check_runs(store, packs):
    """What is wrong with the index of blocks: it holds what the headers of its packs say, and no more."""
    folder = os.path.join(store, "index")
    names = sorted(name for name in os.listdir(folder) if name.startswith("blocks-")) if os.path.isdir(folder) else []
    wrong, covered = [], []
    for name in names:
        first, last = (int(number) for number in name[len("blocks-"):-len(".run")].split("-"))
        covered += [pack for pack in packs.packs if first <= pack <= last]
        if not is_run(read(store, f"index/{name}"), first, last, packs):
            wrong.append(name)
    return wrong if sorted(covered) == covered and len(set(covered)) == len(covered) else wrong + ["a pack in two runs"]


def is_run(data, first, last, packs):
    footer, checks_of = data[-96:], data[:-96]
    if footer[:12] != b"UORBRUN\0\1\0\0\0" or struct.unpack_from("<II", footer, 12) != (first, last):
        return False
    bits, entries, payloads, dead, lengths = struct.unpack_from("<IQQQQ", footer, 20)
    size = 64 * entries + 4 * ((1 << bits) + 1) + 12 * dead + 12 * lengths
    content, checks = checks_of[:size], checks_of[size:]
    if blake3(checks + footer[:64]) != footer[64:] or footer[56:64] != bytes(8) \
            or checks != page_checks("uor-asl index of blocks 1", first << 32 | last, content):
        return False
    own = [block for block in packs.blocks if first <= block.place[0] <= last]
    buried = {place for block in own if block.kind in (ERASED, DROPPED) for place in places_in(block) or []}
    kept = [block for block in own if block.kind in (WHOLE, PART, MANIFEST, ERASED) and block.place not in buried]
    kept.sort(key=lambda block: (block.name, block.place))
    made = b"".join(block.name + struct.pack("<QIIIBB10x", block.place[1], block.place[0], block.stored, block.raw,
                                             block.kind, block.codec) for block in kept)
    buckets = [int.from_bytes(block.name[:4], "big") >> 32 - bits for block in kept]
    for bucket in range((1 << bits) + 1):
        made += struct.pack("<I", sum(1 for other in buckets if other < bucket))
    for pack, offset in sorted(place for place in buried if not first <= place[0] <= last):
        made += struct.pack("<IQ", pack, offset)
    for pack in packs.packs:
        if first <= pack <= last:
            made += struct.pack("<IQ", pack, packs.lengths[pack])
    return made == content and payloads == sum(1 for block in kept if block.kind in (WHOLE, MANIFEST)) and entries == len(kept)
