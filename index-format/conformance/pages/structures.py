"""What is hashed and signed: records, commits and payloads with a meaning. index-format/FORMAT.md."""

import struct
import unicodedata

from pages.hashes import blake3, derive_key, is_signed


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


def merkle_root(node, leaves):
    """The shape of RFC 9162, section 2.1."""
    if not leaves:
        return derive_key(node, b"")
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return derive_key(node, merkle_root(node, leaves[:k]) + merkle_root(node, leaves[k:]))


def root_by_path(node, leaf, index, count, path):
    """Where the siblings of a leaf lead to: RFC 9162, section 2.1.3.2."""
    need(index < count, "no such leaf")
    last = count - 1
    while last:
        if index & 1 or index < last:
            need(path, "too few siblings")
            sibling, path = path[0], path[1:]
            leaf = derive_key(node, sibling + leaf if index & 1 else leaf + sibling)
        index, last = index >> 1, last >> 1
    need(not path, "too many siblings")
    return leaf


def history_root(hashes):
    return merkle_root("uor 2026-11 history node v1", hashes)


def record_leaf(fixed):
    return derive_key("uor 2026-11 commit record v1", fixed + bytes(44))


RECORDS_NODE = "uor 2026-11 commit records node v1"


def content_of(checksum, records_root):
    return derive_key("uor 2026-11 commit content v1", checksum + records_root)


def record_proof(data):
    """The header of a commit, the fixed part of a record, its index, the body's checksum, and siblings."""
    header, c = Commit(data[:240]), Cursor(data[240:])
    fixed, index, checksum = c.take(84), c.u(4), c.take(32)
    path = [c.take(32) for _ in range((len(c.data) - c.at) // 32)]
    c.end()
    root = root_by_path(RECORDS_NODE, record_leaf(fixed), index, header.record_count, path)
    need(header.version == 2 and content_of(checksum, root) == header.content, "the record is not in the commit")
    return {"commit": header.hash, "id": fixed[:32].hex(), "index": index}


class Commit:
    def __init__(self, data):
        c = Cursor(data)
        self.version = c.magic(b"UORC", 2)
        need(c.u(2) == 0, "reserved")
        self.domain, self.number, self.history = c.key(), c.u(8), c.key()
        self.logseq, self.federation, self.wall_ms = c.u(8), c.key(), c.u(8)
        length, learned, records = c.count(8 << 20), c.count(4096), c.count(65536)
        need(c.u(4) == 0, "reserved")
        self.record_count, self.content, signature = records, c.take(32), c.take(64)
        self.header = data[:240]
        self.hash = derive_key("uor 2026-11 commit v1", data[:176])
        need(is_signed(bytes.fromhex(self.domain), self.hash, signature), "the signature is not the domain's")
        self.hash = self.hash.hex()
        need(self.number > 0 and self.logseq > 0, "number and logseq count from 1")
        need((self.number == 1) == self.continues([]), "the first alone names the history of none")
        if len(data) == 240:
            return  # a header alone, as fork proofs have it
        need(len(data) == 240 + length, "length of the body")
        content = blake3(data[240:])
        self.learned = [c.key() for _ in range(learned)]
        need(ascending(self.learned), "learned commits do not ascend")
        need(records > 0, "no record")
        self.records, leaves = [], []
        for _ in range(records):
            fixed = data[c.at:c.at + 84]
            self.records.append(record_of(c))
            leaves.append(record_leaf(fixed) if self.version == 2 else None)
        if self.version == 2:
            content = content_of(content, merkle_root(RECORDS_NODE, leaves))
        need(content == self.content, "content of the body")
        need(ascending([record["id"] for record in self.records]), "records do not ascend")
        c.end()

    def continues(self, hashes):
        """Whether these are the commits that it names as those before it."""
        if self.version == 1:
            return self.history == (hashes[-1] if hashes else "00" * 32)
        return self.history == history_root([bytes.fromhex(one) for one in hashes]).hex()


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
