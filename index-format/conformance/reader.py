#!/usr/bin/env python3
"""A second reader of uor stores, written from two pages: index-format/FORMAT.md and asl/FORMAT.md.

It reads a store's log, index and packs, judges commits, replays them, and computes entries, conflicts and state roots. It
needs Python 3.8 and nothing else; it is slow and meant to be read beside the pages.

    reader.py DIR            checks a conformance set, such as the directory this file lies in
    reader.py --state STORE  prints entries, conflicts and the state root of one store as JSON

Payloads that are compressed are not unpacked: Python has no zstd everywhere. Exit status: 0 all agree, 1 something differs.
"""

import hashlib
import json
import os
import struct
import sys
import unicodedata

# --- BLAKE3 ------------------------------------------------------------------------------------------------------------

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT, KEYED_HASH, CONTEXT, MATERIAL = 1, 2, 4, 8, 16, 32, 64
COLUMNS_AND_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)
U32 = 0xFFFFFFFF


def compress(cv, block, counter, length, flags):
    v = list(cv) + list(IV[:4]) + [counter & U32, counter >> 32, length, flags]
    m = block
    for last in (0, 0, 0, 0, 0, 0, 1):
        at = 0
        for a, b, c, d in COLUMNS_AND_DIAGONALS:
            va, vb, vc = v[a], v[b], v[c]
            va = (va + vb + m[at]) & U32
            vd = v[d] ^ va
            vd = (vd >> 16 | vd << 16) & U32
            vc = (vc + vd) & U32
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & U32
            va = (va + vb + m[at + 1]) & U32
            vd ^= va
            vd = (vd >> 8 | vd << 24) & U32
            vc = (vc + vd) & U32
            vb ^= vc
            v[a], v[b], v[c], v[d] = va, (vb >> 7 | vb << 25) & U32, vc, vd
            at += 2
        if not last:
            m = [m[i] for i in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ cv[i] for i in range(8)]


def blake3(data, key=IV, flags=0, length=32):
    """The digest of `data`; `key` is eight words."""
    def words(block):
        return struct.unpack("<16I", block.ljust(64, b"\0"))

    def chunk(number):
        """What the last compression of a chunk is made of."""
        part, cv = data[number * 1024:number * 1024 + 1024], key
        blocks = [part[at:at + 64] for at in range(0, max(len(part), 1), 64)]
        for at, block in enumerate(blocks):
            flag = flags | (CHUNK_START if at == 0 else 0)
            if at == len(blocks) - 1:
                return cv, words(block), number, len(block), flag | CHUNK_END
            cv = compress(cv, words(block), number, 64, flag)[:8]

    def tree(first, count):
        if count == 1:
            return chunk(first)
        left = 1 << (count - 1).bit_length() - 1
        pair = [compress(*tree(first, left))[:8], compress(*tree(first + left, count - left))[:8]]
        return key, pair[0] + pair[1], 0, 64, flags | PARENT

    cv, block, counter, block_len, flag = tree(0, max((len(data) + 1023) // 1024, 1))
    out = b""
    while len(out) < length:
        # Only the root's output counter moves; a root chunk has number 0.
        out += struct.pack("<16I", *compress(cv, block, len(out) // 64, block_len, flag | ROOT))
    return out[:length]


def keyed_hash(key, data):
    return blake3(data, struct.unpack("<8I", key), KEYED_HASH)


CONTEXT_KEYS = {}


def derive_key(name, data, length=32):
    if name not in CONTEXT_KEYS:
        CONTEXT_KEYS[name] = struct.unpack("<8I", blake3(name.encode(), IV, CONTEXT))
    return blake3(data, CONTEXT_KEYS[name], MATERIAL, length)


# --- Ed25519, strictly --------------------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def point_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_mul(number, p):
    q = (0, 1, 1, 0)
    while number:
        if number & 1:
            q = point_add(q, p)
        p, number = point_add(p, p), number >> 1
    return q


def point_encode(p):
    z = pow(p[2], P - 2, P)
    return (p[1] * z % P | (p[0] * z % P & 1) << 255).to_bytes(32, "little")


def point_decode(text):
    number = int.from_bytes(text, "little")
    y, sign = (number & (1 << 255) - 1) % P, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    if (x * x - square) % P:
        return None
    if x & 1 != sign:
        x = -x % P
    return x, y, 1, x * y % P


BASE = point_decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
SIGNED = {}


def is_signed(domain, message, signature):
    triple = (domain, message, signature)
    if triple not in SIGNED:
        SIGNED[triple] = verify(*triple)
    return SIGNED[triple]


def verify(domain, message, signature):
    number = int.from_bytes(signature[32:], "little")
    a, r = point_decode(domain), point_decode(signature[:32])
    if number >= L or a is None or r is None:
        return False
    if any(point_encode(point_mul(8, p)) == point_encode((0, 1, 1, 0)) for p in (a, r)):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + domain + message).digest(), "little") % L
    minus_a = (-a[0] % P, a[1], a[2], -a[3] % P)
    return point_encode(point_add(point_mul(number, BASE), point_mul(k, minus_a))) == signature[:32]


# --- Decoding -----------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """Bytes that are not what the page says."""


class Damage(Exception):
    """A store that is not as it was written: kind, file, offset."""

    def __init__(self, kind, file=None, offset=None):
        super().__init__(f"{kind} {file} {offset}")
        self.kind, self.file, self.offset = kind, file, offset


def need(holds, what):
    if not holds:
        raise Refused(what)


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "cut")
        self.at += count
        return self.data[self.at - count:self.at]

    def u(self, size, signed=False):
        return int.from_bytes(self.take(size), "little", signed=signed)

    def flag(self):
        value = self.u(1)
        need(value < 2, "neither 0 nor 1")
        return value == 1

    def count(self, most):
        value = self.u(4)
        need(value <= most, f"a count of {value}, at most {most}")
        return value

    def bytes(self, most, least=0):
        count = self.count(most)
        need(count >= least, "too short")
        return self.take(count)

    def text(self, most, least=0):
        try:
            return self.bytes(most, least).decode()
        except UnicodeDecodeError:
            raise Refused("no UTF-8") from None

    def key(self):
        return self.take(32).hex()

    def magic(self, magic, newest):
        need(self.take(4) == magic, "another magic")
        version = self.u(2)
        need(1 <= version <= newest, f"version {version}")
        return version

    def end(self):
        need(self.at == len(self.data), "bytes behind the end")


def ascending(items):
    return all(a < b for a, b in zip(items, items[1:]))


KINDS = ("tombstone", "artifact", "receipt", "edge", "ref", "genesis", "admission", "resolution")
RULES = ("first", "quorum", "manual")


def artifact_key(tag, length, checksum):
    return derive_key("uor 2026-11 artifact key v1",
                      struct.pack("<BIQ", tag is not None, tag or 0, length) + checksum)


def endpoint(c):
    kind = c.flag()
    return {"site" if kind else "artifact": c.key()}


def side(c):
    count = c.count(32768)
    need(count > 0, "no endpoint")
    return [endpoint(c) for _ in range(count)]


def body_of(kind, data):
    """The body taken apart, and the id that follows from it."""
    c = Cursor(data)
    if kind == "receipt":
        body = {"program": c.key(), "inputs": [c.key() for _ in range(c.count(65536))],
                "params": c.bytes(1 << 20).hex(), "profile": c.text(255)}
        found = derive_key("uor 2026-11 receipt derivation v1", data)
    elif kind == "edge":
        body = {"type": c.text(255, 1), "from": side(c), "to": side(c)}
        found = derive_key("uor 2026-11 tgk edge v1", data[:c.at])
        body["role"] = c.u(1)
        need(body["role"] < 3, "unknown role")
        body["attribute"] = c.key() if c.flag() else None
    elif kind == "ref":
        body = {"namespace": c.text(1024), "name": c.text(1024)}
        found = derive_key("uor 2026-11 ref v1", data[:c.at])
        body["target"] = c.key()
    elif kind == "genesis":
        body = {"founder": c.key(), "name": c.text(64), "nonce": c.take(16).hex(), "conflict_rule": c.u(1),
                "logseq_jump_max": c.u(8)}
        need(body["conflict_rule"] < 3, "unknown rule")
        found = derive_key("uor 2026-11 federation v1", data)
    else:
        body = {"federation": c.key(), "site": c.key(), "name": c.text(64)}
        found = derive_key("uor 2026-11 admission v1", data[:64])
    c.end()
    return body, found


def record_of(c):
    record = {"id": c.key()}
    kind, flags = c.u(1), c.u(1)
    need(kind < 8 and c.u(2) == 0 and flags < 2, "kind, flags or reserved bytes")
    kind = KINDS[kind]
    tag, length, checksum = c.u(4), c.u(8), c.take(32)
    need(flags == 1 or tag == 0, "a tag and no flag")
    need(flags == 0 or kind == "artifact", "a tag where none can be")
    tag = tag if flags else None
    body, shown = c.bytes(4 << 20), None
    found = bytes.fromhex(record["id"])
    if kind in ("tombstone", "resolution", "artifact"):
        need(not body, "a body")
        need(kind == "artifact" or length == 0, "a length")
        need(kind != "tombstone" or checksum == bytes(32), "a checksum")
        if kind == "artifact":
            found = artifact_key(tag, length, checksum)
    else:
        shown, found = body_of(kind, body)
        if kind != "receipt":
            need(length == len(body) and checksum == blake3(body), "length or checksum is not the body's")
    need(found.hex() == record["id"], "the id does not follow from the content")
    record.update(kind=kind, type_tag=tag, payload_len=length, checksum=checksum.hex(), body=shown)
    return record


class Commit:
    def __init__(self, data):
        c = Cursor(data)
        c.magic(b"UORC", 1)
        need(c.u(2) == 0, "reserved")
        self.domain, self.number, self.previous = c.key(), c.u(8), c.key()
        self.logseq, self.federation, self.wall_ms = c.u(8), c.key(), c.u(8)
        length, learned, records = c.count(8 << 20), c.count(4096), c.count(65536)
        need(c.u(4) == 0, "reserved")
        checksum, signature = c.take(32), c.take(64)
        self.header = data[:240]
        self.hash = derive_key("uor 2026-11 commit v1", data[:176])
        need(is_signed(bytes.fromhex(self.domain), self.hash, signature), "the signature is not the domain's")
        self.hash = self.hash.hex()
        need(self.number > 0 and self.logseq > 0, "number and logseq count from 1")
        need((self.number == 1) == (self.previous == "00" * 32), "the first alone names zero")
        if len(data) == 240:
            return  # a header alone, as fork proofs have it
        need(len(data) == 240 + length and blake3(data[240:]) == checksum, "length or checksum of the body")
        self.learned = [c.key() for _ in range(learned)]
        need(ascending(self.learned), "learned commits do not ascend")
        need(records > 0, "no record")
        self.records = [record_of(c) for _ in range(records)]
        need(ascending([record["id"] for record in self.records]), "records do not ascend")
        c.end()


def fork_proof(data):
    need(len(data) == 480, "a fork proof is two headers")
    pair = [Commit(data[:240]), Commit(data[240:])]
    need(pair[0].hash < pair[1].hash, "the order of the two")
    need(pair[0].domain == pair[1].domain and pair[0].number == pair[1].number, "two places")
    return {"domain": pair[0].domain, "number": pair[0].number, "hashes": [one.hash for one in pair]}


def snapshot_of(data):
    c = Cursor(data)
    version = c.magic(b"UORS", 2)
    logseq_max = c.u(8)
    frontier = [{"domain": c.key(), "number": c.u(8), "hash": c.key()} for _ in range(c.count(65536))]
    need(ascending([head["domain"] for head in frontier]) and all(head["number"] for head in frontier), "frontier")
    origin = None
    if version == 2:
        origin = {"name": c.bytes(4096).hex(), "to_guid": c.u(8), "from_guid": c.u(8), "creation": c.u(8),
                  "contents": c.key(), "state": c.key() if c.flag() else None,
                  "predecessor": c.key() if c.flag() else None}
    c.end()
    key = artifact_key(int.from_bytes(b"SNAP", "little"), len(data), blake3(data)).hex()
    return {"id": key, "logseq_max": logseq_max, "frontier": frontier, "origin": origin}


def attributes_of(c):
    found = {"uid": c.u(8), "gid": c.u(8), "mtime_s": c.u(8, True), "mtime_ns": c.u(4)}
    need(found["mtime_ns"] < 10**9, "nanoseconds")
    found["link"] = c.take(16).hex() if c.flag() else None
    found["xattrs"] = [[c.bytes(1023, 1).hex(), c.bytes(65536).hex()] for _ in range(c.count(65536))]
    need(ascending([name for name, _ in found["xattrs"]]), "extended attributes do not ascend")
    return found


def tree_of(data):
    c = Cursor(data)
    version = c.magic(b"UORT", 2)
    own, entries = None, []
    if version == 2 and c.flag():
        own = {"mode": c.u(4), "attributes": attributes_of(c)}
    for _ in range(c.count(1 << 24)):
        name, mode, kind = c.bytes(1023 if version == 2 else 255, 1), c.u(4), c.u(1)
        need(not (b"/" in name or b"\0" in name or name in (b".", b"..")) and mode < 1 << 12, "name or mode")
        need(kind < (7 if version == 2 else 3), "unknown kind")
        if kind == 0:
            shown = {"file": c.key(), "len": c.u(8)}
        elif kind == 1:
            shown = {"directory": c.key()}
        elif kind == 2:
            shown = {"symlink": c.bytes(4096).hex()}
        elif kind < 5:
            shown = ("fifo", "socket")[kind - 3]
        else:
            shown = {("char_device", "block_device")[kind - 5]: [c.u(4), c.u(4)]}
        entry = {"name": name.hex(), "mode": mode, "kind": shown}
        if version == 2:
            entry["attributes"] = attributes_of(c)
        entries.append(entry)
    c.end()
    need(ascending([entry["name"] for entry in entries]), "names do not ascend")
    need(version == 1 or own or entries, "version 2 without need")
    return {"own": own, "entries": entries}


def source_of(c, inputs, nodes):
    kind, index = c.flag(), c.u(4)
    need(index < (nodes if kind else inputs), "a source that is not before it")
    return {"node" if kind else "input": index}


def label(c):
    name = c.text(255, 1)
    need(not any(unicodedata.category(x) == "Cc" or x in "[]" for x in name), "a name with brackets or control characters")
    return name


def program_of(data):
    c = Cursor(data)
    c.magic(b"UORP", 1)
    inputs, nodes = [label(c) for _ in range(c.count(65536))], []
    for index in range(c.count(65536)):
        node = {"name": label(c), "op": c.text(255, 1)}
        flags = c.u(1)
        need(flags < 4, "flags")
        node["module"], node["each"] = c.key() if flags & 1 else None, flags & 2 == 2
        node["params"] = c.bytes(1 << 20).hex()
        node["sources"] = [source_of(c, len(inputs), index) for _ in range(c.count(65536))]
        nodes.append(node)
    outputs = [{"name": label(c), "source": source_of(c, len(inputs), len(nodes))} for _ in range(c.count(65536))]
    c.end()
    for names in (inputs, [node["name"] for node in nodes], [output["name"] for output in outputs]):
        need(len(set(names)) == len(names), "a name twice")
    return {"inputs": inputs, "nodes": nodes, "outputs": outputs}


FAILURES = ("unreachable", "out-of-bounds", "division-by-zero", "integer-overflow", "bad-conversion", "bad-indirect-call",
            "explicit", "out-of-range", "wrong-input")


def outcome_of(data):
    c = Cursor(data)
    c.magic(b"UORX", 1)
    kind, failure = c.u(1), None
    if kind:
        need(kind <= 9, "unknown failure")
        code = c.u(4, True)
        need(kind == 7 or code == 0, "a code")
        failure = {"kind": FAILURES[kind - 1], "code": code, "node": c.text(8192)}
    outputs = [[c.text(255), c.key()] for _ in range(c.count(65536))]
    steps = [{"label": c.text(8192), "receipt": c.key(), "outcome": c.key()} for _ in range(c.count(1 << 20))]
    c.end()
    return {"failure": failure, "outputs": outputs, "steps": steps}


def ticket_of(text):
    text = text.strip()
    need(text.startswith("uor-ticket-"), "no ticket")
    data = bytes.fromhex(text[len("uor-ticket-"):])
    need(derive_key("uor 2026-11 ticket v1", data[:-4])[:4] == data[-4:], "the check")
    c = Cursor(data[:-4])
    c.magic(b"UORI", 1)
    found = {"federation": c.key(), "inviter": c.key(), "token": c.take(16).hex(),
             "addresses": [c.text(512) for _ in range(c.count(32))]}
    c.end()
    found["token_digest"] = derive_key("uor 2026-11 ticket token v1", bytes.fromhex(found["token"])).hex()
    return found


# --- rkyv bodies --------------------------------------------------------------------------------------------------------
# A type is an integer's size, ("bytes", n), ("list", type), "text", ("optional", type), ("structure", name, fields) or
# ("choice", [(name, fields), ...]); fields are pairs of name and type.


def layout(kind):
    """Length and alignment."""
    if isinstance(kind, int):
        return kind, kind
    if kind == "text" or kind[0] == "list":
        return 8, 4
    if kind[0] == "bytes":
        return kind[1], 1
    if kind[0] == "optional":
        return fields_layout([("", 1), ("", kind[1])])
    if kind[0] == "choice":
        sizes = [fields_layout([("", 1)] + fields) for _, fields in kind[1]]
        length, align = max(size[0] for size in sizes), max(size[1] for size in sizes)
        return -(-length // align) * align, align
    return fields_layout(kind[2])


def places(fields):
    at = 0
    for name, kind in fields:
        length, align = layout(kind)
        at = -(-at // align) * align
        yield name, kind, at
        at += length


def fields_layout(fields):
    align = max([layout(kind)[1] for _, kind in fields] + [1])
    ends = [at + layout(kind)[0] for _, kind, at in places(fields)]
    return -(-max(ends + [0]) // align) * align, align


def archived(body, kind, at):
    length, align = layout(kind)
    need(0 <= at and at + length <= len(body) and at % align == 0, "outside the body")
    if isinstance(kind, int):
        return int.from_bytes(body[at:at + kind], "little")
    if kind == "text":
        if body[at] & 0xC0 != 0x80:
            return body[at:at + 8].split(b"\xff")[0].decode()
        number, start = struct.unpack_from("<Ii", body, at)
        count = number & 0x3F | (number & ~0xFF) >> 2
        need(0 <= at + start and at + start + count <= len(body), "a text outside the body")
        return body[at + start:at + start + count].decode()
    if kind[0] == "bytes":
        return body[at:at + length].hex()
    if kind[0] == "list":
        start, count = struct.unpack_from("<iI", body, at)
        size = layout(kind[1])[0]
        need(count * size <= len(body), "a list outside the body")
        if kind[1] == 1:
            need(count == 0 or 0 <= at + start and at + start + count <= len(body), "bytes outside the body")
            return body[at + start:at + start + count].hex() if count else ""
        return [archived(body, kind[1], at + start + index * size) for index in range(count)]
    if kind[0] == "optional":
        place = [at for _, _, at in places([("", 1), ("", kind[1])])][1]
        return archived(body, kind[1], at + place) if body[at] else None
    if kind[0] == "choice":
        need(body[at] < len(kind[1]), "unknown choice")
        name, fields = kind[1][body[at]]
        shown = {name: archived(body, of, at + place) for name, of, place in list(places([("", 1)] + fields))[1:]}
        return {"is": name, **shown} if fields else name
    shown = {name: archived(body, of, at + place) for name, of, place in places(kind[2])}
    return {"is": kind[1], **shown} if kind[1] else shown


def root_of(body, kind):
    return archived(body, kind, len(body) - layout(kind)[0])


ID, BYTES = ("bytes", 32), ("list", 1)
HEAD = ("structure", "WireHead", [("domain", ID), ("number", 8), ("hash", ID)])
CONTACT = ("structure", "Contact", [("site", ID), ("address", "text")])
POSITION = ("structure", "Position", [("heads", ("list", HEAD)), ("logseq_max", 8), ("state_root", ID),
                                      ("fork_proofs", ("list", BYTES)), ("contacts", ("list", CONTACT))])
REASON = ("choice", [(name, []) for name in
                     ("OtherFederation", "NotAMember", "NotHere", "Forked", "TicketUnknown", "Malformed", "Failed")])
FRAMES = {
    "doorbell": ("structure", "Doorbell", [("federation", ID), ("domain", ID), ("number", 8), ("hash", ID), ("logseq", 8),
                                           ("snapshot", ID), ("state_root", ID)]),
    "request": ("choice", [
        ("Frontier", [("federation", ID), ("position", POSITION)]),
        ("Delta", [("federation", ID), ("domain", ID), ("after", 8), ("after_hash", ID)]),
        ("Payload", [("federation", ID), ("checksum", ID), ("offset", 8), ("len_max", 8)]),
        ("Read", [("federation", ID), ("member", ID), ("signature", ("bytes", 64))]),
        ("Join", [("federation", ID), ("token", ("bytes", 16)), ("name", "text")]),
    ]),
    "response": ("choice", [
        ("Frontier", [("position", POSITION)]),
        ("Delta", [("commits", ("list", BYTES)), ("commits_left", 8)]),
        ("Payload", [("total_len", 8), ("bytes", BYTES)]),
        ("Admitted", [("domain", ID), ("commit", ID)]),
        ("Welcome", []),
        ("Refused", [("reason", REASON)]),
    ]),
}
PAIR = ("structure", None, [("key", ID), ("value", 8)])
RUN = ("structure", None, [("number", 4), ("range", ("structure", None, [("from", 8), ("to", 8)])),
                           ("seals", ("list", ("bytes", 16)))])
JUDGE = ("structure", None, [
    ("genesis", ("optional", BYTES)),
    ("domains", ("list", ("structure", None, [("last", BYTES), ("knows", ("list", ID))]))),
    ("memberships", ("list", ("structure", None, [("commit", ID), ("admits", ("list", ID)), ("logseq", 8)]))),
    ("forks", ("list", BYTES)), ("logseq_max", 8)])
CHECKPOINT = ("structure", None, [
    ("through", 8), ("shards", 4), ("next_run", 4), ("runs", ("list", RUN)), ("domains", ("list", PAIR)), ("judge", JUDGE),
    ("uncounted", 8), ("uncounted_heads", ("list", PAIR)), ("lanes", ("list", 2)), ("entries", 8),
    ("conflicts", ("list", ID)), ("wanted", ("list", PAIR)), ("erased", ("list", PAIR))])

# --- The files of a store -----------------------------------------------------------------------------------------------


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


# --- Judging ------------------------------------------------------------------------------------------------------------


class Judge:
    def __init__(self, federation):
        self.federation, self.forks = federation, {}
        self.restart()

    def restart(self):
        self.genesis, self.logseq_max = None, 0
        self.chains, self.knows, self.memberships, self.counted = {}, {}, {}, set()

    def offer(self, commit):
        """The verdict about a commit; takes it in if it counts."""
        chain = self.chains.get(commit.domain, [])
        if commit.number <= len(chain):
            return "known" if chain[commit.number - 1].hash == commit.hash else "forks"
        if commit.domain in self.forks and commit.number >= self.forks[commit.domain]["number"]:
            return "refused"
        if commit.number > len(chain) + 1:
            return "parked"
        if commit.previous != (chain[-1].hash if chain else "00" * 32) or chain and commit.logseq <= chain[-1].logseq:
            return "refused"
        knows = self.knows.get(commit.domain, set()) | set(commit.learned)
        digest = derive_key("uor 2026-11 federation state v1", b"".join(bytes.fromhex(name) for name in sorted(knows)))
        if digest.hex() != commit.federation:
            return "refused"
        founds = any(record["kind"] == "genesis" and record["id"] == self.federation
                     and record["body"]["founder"] == commit.domain for record in commit.records) and commit.number == 1
        if not founds:
            admitted = [self.memberships[name][1] for name in knows
                        if name in self.memberships and commit.domain in self.memberships[name][0]]
            if not any(logseq < commit.logseq for logseq in admitted):
                return "refused" if knows <= self.counted else "parked"
        for record in commit.records:
            if record["kind"] == "genesis" and not (founds and record["id"] == self.federation):
                return "refused"
            if record["kind"] == "admission" and record["body"]["federation"] != self.federation:
                return "refused"
        if self.genesis and commit.logseq > self.logseq_max + self.genesis["logseq_jump_max"]:
            return "parked"
        self.take(commit, knows)
        return "counts"

    def take(self, commit, knows):
        members = [record["body"]["founder" if record["kind"] == "genesis" else "site"] for record in commit.records
                   if record["kind"] in ("genesis", "admission")]
        for record in commit.records:
            if record["kind"] == "genesis":
                self.genesis = record["body"]
        if members:
            knows = knows | {commit.hash}
            self.memberships[commit.hash] = (members, commit.logseq)
        self.chains.setdefault(commit.domain, []).append(commit)
        self.knows[commit.domain] = knows
        self.counted.add(commit.hash)
        self.logseq_max = max(self.logseq_max, commit.logseq)

    def freeze(self, proof):
        known = self.forks.get(proof["domain"])
        if known and known["number"] <= proof["number"]:
            return False
        self.forks[proof["domain"]] = proof
        return True

    def judge_all(self, commits):
        """Judges commits in any order, again and again until nothing more counts; gives those that do not."""
        self.restart()
        waiting = list(commits)
        while True:
            left = [commit for commit in waiting if self.offer(commit) not in ("counts", "known")]
            if len(left) == len(waiting):
                return left
            waiting = left

    def members(self):
        return sorted({site for sites, _ in self.memberships.values() for site in sites})

    def all(self):
        return [commit for chain in self.chains.values() for commit in chain]

    def head(self):
        heads = [{"domain": domain, "number": len(chain), "hash": chain[-1].hash}
                 for domain, chain in sorted(self.chains.items())]
        return {"logseq_max": self.logseq_max, "frontier": heads}


# --- What is visible ----------------------------------------------------------------------------------------------------


def versions_inside(commits, snapshot):
    """Records inside a snapshot, by id, in the one order; and how many there are."""
    numbers = {head["domain"]: head["number"] for head in snapshot["frontier"]}
    found, count = {}, 0
    for commit in commits:
        if commit.number > numbers.get(commit.domain, 0) or commit.logseq > snapshot["logseq_max"]:
            continue
        count += len(commit.records)
        for record in commit.records:
            place = (commit.logseq, record["id"], record["kind"] == "tombstone", commit.domain)
            found.setdefault(record["id"], []).append((place, record))
    for versions in found.values():
        versions.sort(key=lambda version: version[0])
    return found, count


def live_of(versions):
    last = max([at for at, (_, record) in enumerate(versions) if record["kind"] == "tombstone"], default=-1)
    return versions[last + 1:]


def claims_of(live):
    return [version for version in live if version[1]["kind"] not in ("tombstone", "resolution")]


def entry_of(versions, rule):
    live = live_of(versions)
    claims = claims_of(live)
    if not claims:
        return None

    def domains(checksum):
        return len({place[3] for place, record in claims if record["checksum"] == checksum})

    def stands(claim, conflict):
        place, record = claim
        return {"id": record["id"], "kind": record["kind"], "type_tag": record["type_tag"], "checksum": record["checksum"],
                "payload_len": record["payload_len"], "logseq": place[0], "conflict": conflict,
                "domains": domains(record["checksum"])}

    first = claims[0]
    if first[1]["kind"] in ("edge", "ref", "admission"):
        return stands(claims[-1], False)
    if len({record["checksum"] for _, record in claims}) == 1:
        return stands(first, False)
    for place, resolution in reversed([version for version in live if version[1]["kind"] == "resolution"]):
        kept = [claim for claim in claims if claim[1]["checksum"] == resolution["checksum"]]
        if kept:
            dissent = any(at > place and record["checksum"] != resolution["checksum"] for at, record in claims)
            return stands(kept[0], dissent)
    if rule == "first":
        return stands(first, True)
    if rule == "quorum":
        most = max(domains(record["checksum"]) for _, record in claims)
        return stands(next(claim for claim in claims if domains(claim[1]["checksum"]) == most), True)
    return {**stands(first, True), "type_tag": None, "checksum": None, "payload_len": 0, "domains": 0}


LANES = {}


def lanes_of(entry):
    tag, checksum = entry["type_tag"], entry["checksum"]
    flags = (tag is not None) | entry["conflict"] << 1 | (checksum is None) << 2
    data = bytes.fromhex(entry["id"]) + struct.pack("<BBI", KINDS.index(entry["kind"]), flags, tag or 0) \
        + (bytes.fromhex(checksum) if checksum else bytes(32)) + struct.pack("<Q", entry["logseq"])
    if data not in LANES:
        LANES[data] = struct.unpack("<1024H", derive_key("uor 2026-11 state entry v1", data, 2048))
    return LANES[data]


def encode_snapshot(snapshot):
    heads = snapshot["frontier"]
    return b"UORS" + struct.pack("<HQI", 1, snapshot["logseq_max"], len(heads)) + b"".join(
        bytes.fromhex(head["domain"]) + struct.pack("<Q", head["number"]) + bytes.fromhex(head["hash"]) for head in heads)


def state_at(commits, snapshot, rule):
    """Everything there is to say about a snapshot."""
    found, records = versions_inside(commits, snapshot)
    entries, conflicts, lanes = [], [], [0] * 1024
    for name in sorted(found):
        entry = entry_of(found[name], rule)
        if entry is None:
            continue
        entries.append(entry)
        lanes = [(a + b) & 0xFFFF for a, b in zip(lanes, lanes_of(entry))]
        if entry["conflict"]:
            claims = claims_of(live_of(found[name]))
            conflicts.append({"id": name, "claims": [
                {"checksum": record["checksum"], "domain": place[3], "logseq": place[0]} for place, record in claims]})
    lanes = struct.pack("<1024H", *lanes)
    encoded = encode_snapshot(snapshot)
    return {"logseq_max": snapshot["logseq_max"], "frontier": snapshot["frontier"], "snapshot_id": snapshot_of(encoded)["id"],
            "records": records, "state_root": derive_key("uor 2026-11 state root v1", encoded + lanes).hex(),
            "state_sum": derive_key("uor 2026-11 state sum v1", lanes).hex(), "entries": entries, "conflicts": conflicts}


# --- Payloads -----------------------------------------------------------------------------------------------------------


def read_packs(store):
    """Names of payloads that are here, names of erased ones, and what is damaged. None where that takes zstd to say."""
    numbers = numbered(store, "blocks", ".pack")
    listed = read(store, "blocks/packs.list") if os.path.exists(os.path.join(store, "blocks/packs.list")) else None
    removed, last = [], max(numbers, default=0)
    if listed is not None:
        if listed[:8] != b"UORPLST\0" or blake3(listed[:-32]) != listed[-32:]:
            raise Damage("damaged", "blocks/packs.list", 0)
        last, count = struct.unpack_from("<II", listed, 12)
        removed = [struct.unpack_from("<II", listed, 20 + 8 * at) for at in range(count)]
    for number in range(1, last + 1):
        if number not in numbers and not any(low <= number <= high for low, high in removed):
            raise Damage("missing_pack")
    blocks, damages, dead, erased, unclear = [], [], set(), {}, False
    for number in numbers:
        name = f"blocks/{number:08}.pack"
        data = read(store, name)
        if file_version(data, b"UORPACK\0", number, name) is None:
            raise Damage("damaged", name, 0)
        at = 32
        while at + 64 <= len(data):
            header = data[at:at + 64]
            check = keyed_hash(b"uor-asl block header check v.1  ", struct.pack("<IQ", number, at) + header[:48])[:16]
            if check != header[48:]:
                if data[at:].strip(b"\0"):
                    damages.append({"file": name, "offset": at})
                    # A gap of unknown length: on at the next valid header, of which this reader looks for none.
                break
            stored, raw, kind, codec = struct.unpack_from("<IIBB", header)
            found, digest = data[at + 64:at + 64 + stored], header[16:48]
            if kind in (1, 2):
                blocks.append((kind, digest.hex(), number, at, codec, found))
            elif kind == 3:
                blocks.append((kind, digest.hex(), number, at, codec, found))
            elif kind in (6, 7):
                if codec:
                    unclear = True
                else:
                    need(blake3(digest + found[:-32]) == found[-32:], "the check of places")
                    for place in range(struct.unpack_from("<I", found)[0]):
                        dead.add(struct.unpack_from("<IQ", found, 8 + 12 * place))
                if kind == 6:
                    erased[digest.hex()] = (number, at)
            at += 64 + -(-stored // 8) * 8
    here = {}
    for kind, name, number, at, codec, found in blocks:
        if (number, at) in dead:
            continue
        if kind in (1, 2) and not codec and blake3(found).hex() != name:
            damages.append({"file": f"blocks/{number:08}.pack", "offset": at})
        if kind in (1, 3):
            here[name] = (number, at)
    erased = {name for name, place in erased.items() if here.get(name, (0, 0)) < place}
    return None if unclear else set(here), erased, damages


# --- The index ----------------------------------------------------------------------------------------------------------


def check_index(store, entries):
    """What is wrong with the files that the checkpoint names; the checkpoint itself, or None where there is none."""
    if not os.path.exists(os.path.join(store, "index/checkpoint")):
        return [], None
    data = read(store, "index/checkpoint")
    if data[:8] == b"UORCKPT\0" and data[8:10] != b"\1\0" and blake3(data[48:]) == data[16:48]:
        print(f"skipped: the index of {os.path.relpath(store)}, whose checkpoint has another version than 1")
        return [], None
    if data[:16] != b"UORCKPT\0\1\0" + bytes(6) or blake3(data[48:]) != data[16:48]:
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


# --- A store, and the set -----------------------------------------------------------------------------------------------


def read_store(store):
    federation = identity(store)
    present, erased, block_damages = read_packs(store)
    entries, torn = read_log(store)
    commits, proofs, log_erased = [], [], set()
    for segment, at, kind, body in entries:
        name = f"log/{segment:08}.log"
        try:
            if kind == 1:
                commits.append(Commit(body))
            elif kind == 2:
                proofs.append(fork_proof(body))
            elif kind == 3:
                log_erased |= removal(body)
            else:
                raise Damage("unknown_entry", name, at)
        except Refused:
            raise Damage("entry", name, at) from None
    for commit in commits:
        for record in commit.records:
            if record["kind"] == "genesis" and record["id"] != federation:
                raise Damage("other_federation", "store")
    judge = Judge(federation)
    for proof in proofs:
        judge.freeze(proof)
    uncounted = judge.judge_all(commits)
    return {"judge": judge, "commits": commits, "proofs": proofs, "uncounted": uncounted, "torn": torn, "present": present,
            "erased": erased | log_erased, "block_damages": block_damages, "entries": entries}


def removal(data):
    c = Cursor(data)
    need((data[:4], c.magic(data[:4], 2)) in ((b"UORX", 1), (b"UORM", 2)), "magic and version")
    reason = c.u(2)
    need(reason in (1, 2), "unknown reason")
    c.u(8)
    names = {c.key() for _ in range(c.count(65536))}
    c.end()
    return names if reason == 1 else set()


class Report:
    def __init__(self):
        self.checks, self.wrong = 0, []

    def same(self, where, found, expected):
        self.checks += 1
        if found != expected:
            self.wrong.append(f"{where}:\n  found    {json.dumps(found)[:600]}\n  expected {json.dumps(expected)[:600]}")


def check_store(report, store, expected):
    name = os.path.relpath(store)
    try:
        found = read_store(store)
    except Damage as damage:
        error = expected.get("error", {"kind": "none"})
        report.same(f"{name}: kind of damage", damage.kind, error["kind"])
        report.same(f"{name}: file", damage.file, error.get("file"))
        report.same(f"{name}: offset", damage.offset, error.get("offset"))
        return
    report.same(f"{name}: opens", True, expected["opens"])
    if not expected["opens"]:
        return
    judge = found["judge"]
    rule = RULES[judge.genesis["conflict_rule"]] if judge.genesis else "first"
    report.same(f"{name}: torn tails", [found["torn"]] if found["torn"] else [], expected["torn_tails"])
    report.same(f"{name}: commits", len(judge.all()), expected["commits"])
    report.same(f"{name}: uncounted", len(found["uncounted"]), expected["uncounted"])
    report.same(f"{name}: members", judge.members(), expected["members"])
    report.same(f"{name}: forks", [judge.forks[domain] for domain in sorted(judge.forks)], expected["forks"])
    blocks = [finding for finding in expected["findings"] if finding["kind"] == "block"]
    report.same(f"{name}: damaged blocks", found["block_damages"],
                [{"file": finding["file"], "offset": finding["offset"]} for finding in blocks])
    check_state(report, f"{name}: head", judge, judge.head(), rule, expected["head"])
    for snapshot in expected["snapshots"]:
        check_state(report, f"{name}: snapshot `{snapshot['about']}`", judge, snapshot, rule, snapshot)
    if found["present"] is not None and not blocks:
        check_payloads(report, name, found, expected)
    wrong, checkpoint = check_index(store, found["entries"])
    of_index = [finding for finding in expected["findings"] if finding["kind"] == "index"] or expected["index_is_unusable"]
    report.same(f"{name}: the index is sound", not wrong, not of_index)
    if checkpoint and not wrong:
        report.same(f"{name}: judge of the checkpoint", checkpoint["judge"]["forks"], [])
        report.same(f"{name}: lanes of the checkpoint", len(checkpoint["lanes"]), 1024)
    check_offered(report, name, found, expected)


def check_state(report, where, judge, snapshot, rule, expected):
    found = state_at(judge.all(), snapshot, rule)
    bare = [{key: value for key, value in entry.items() if key != "about"} for entry in expected["entries"]]
    words = {entry["id"]: entry.get("about") for entry in expected["entries"]}
    for entry, other in zip(found["entries"], bare):
        report.same(f"{where}: entry `{words.get(entry['id'])}`", entry, other)
    report.same(f"{where}: number of entries", len(found["entries"]), len(bare))
    for key in ("logseq_max", "frontier", "snapshot_id", "records", "state_root", "state_sum", "conflicts"):
        report.same(f"{where}: {key}", found[key], expected[key])


def check_payloads(report, name, found, expected):
    absent = [entry for entry in expected["head"]["entries"]
              if entry["kind"] in ("artifact", "receipt") and entry["checksum"] and entry["checksum"] not in found["present"]]
    erased = [entry["id"] for entry in absent if entry["checksum"] in found["erased"]]
    report.same(f"{name}: erased", erased, expected["erased"])
    report.same(f"{name}: missing", [entry["id"] for entry in absent if entry["id"] not in erased], expected["missing"])


def check_offered(report, name, found, expected):
    """Offers once more what was offered to the store, after what was in it before."""
    offered = expected.get("offered", [])
    taken = {offer["commit"] for offer in offered if offer.get("verdict") == "counts"}
    judge = Judge(found["judge"].federation)
    log = [(body.hex(), Commit(body)) for _, _, kind, body in found["entries"] if kind == 1]
    before = [commit for text, commit in log if text not in taken] if offered else []
    judge.judge_all(before)
    for offer in offered:
        if "fork_proof" in offer:
            proof = fork_proof(bytes.fromhex(offer["fork_proof"]))
            report.same(f"{name}: {offer['about']}", judge.freeze(proof), offer["is_news"])
            judge.judge_all(before)
            continue
        commit = Commit(bytes.fromhex(offer["commit"]))
        verdict = judge.offer(commit)
        report.same(f"{name}: {offer['about']}", verdict, offer["verdict"])
        if verdict == "counts":
            before.append(commit)
        if verdict == "forks":
            twin = judge.chains[commit.domain][commit.number - 1]
            judge.freeze({"domain": commit.domain, "number": commit.number, "hashes": sorted([twin.hash, commit.hash])})
            judge.judge_all(before)


def commit_of(data):
    commit = Commit(data)
    need(len(data) > 240, "a header alone")
    shown = ("hash", "domain", "number", "previous", "logseq", "federation", "wall_ms", "learned", "records")
    return {name: getattr(commit, name) for name in shown}


STRUCTURES = {
    "commit": commit_of, "tree": tree_of, "program": program_of, "outcome": outcome_of, "snapshot": snapshot_of, "fork proof": fork_proof,
    "derivation": lambda data: dict(zip(("body", "key"), (lambda body, key: (body, key.hex()))(*body_of("receipt", data)))),
}


def record_alone(data):
    c = Cursor(data)
    record = record_of(c)
    c.end()
    return record


def check_values(report, values):
    for value in values["values"]:
        where = f"values: {value['structure']}, {value['about']}"
        if value["structure"] == "ticket":
            report.same(where, ticket_of(value["text"]), value["decoded"])
        else:
            decode = STRUCTURES.get(value["structure"], record_alone)
            report.same(where, decode(bytes.fromhex(value["hex"])), value["decoded"])
    for value in values["refused"]:
        decode = STRUCTURES.get(value["structure"], record_alone)
        try:
            decode(bytes.fromhex(value["hex"]))
            report.same(f"values: {value['structure']} to be refused, {value['about']}", "accepted", "refused")
        except Refused:
            report.same("", 0, 0)


def check_frames(report, frames):
    if frames["protocol_version"] != 1:
        print(f"skipped: frames of protocol version {frames['protocol_version']}, this reader knows version 1")
        return
    for value in frames["frames"]:
        data = bytes.fromhex(value["hex"])
        report.same(f"frames: {value['about']}: version", data[0], 1)
        shown = root_of(data[1:], FRAMES[value["about"].split(".")[0]])
        # Where the set shows an empty list, it cannot tell it from no bytes.
        flat = json.dumps(shown).replace('""', "[]")
        report.same(f"frames: {value['about']}", json.loads(flat), value["decoded"])


def check_set(root):
    report = Report()
    for group in ("stores", "damaged"):
        for file in sorted(os.listdir(os.path.join(root, group))):
            if file.endswith(".json"):
                with open(os.path.join(root, group, file), encoding="utf-8") as text:
                    check_store(report, os.path.join(root, group, file[:-5]), json.load(text))
    for file, check in (("values.json", check_values), ("frames.json", check_frames)):
        with open(os.path.join(root, file), encoding="utf-8") as text:
            check(report, json.load(text))
    for wrong in report.wrong:
        print(wrong)
    print(f"{report.checks} checks, {len(report.wrong)} differ")
    return 1 if report.wrong else 0


def show_state(store):
    found = read_store(store)
    judge = found["judge"]
    rule = RULES[judge.genesis["conflict_rule"]] if judge.genesis else "first"
    print(json.dumps(state_at(judge.all(), judge.head(), rule), indent=1))
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--state":
        sys.exit(show_state(sys.argv[2]))
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(check_set(sys.argv[1]))
