"""Which commits count, and what is visible. index-format/FORMAT.md."""

import struct

from pages.hashes import derive_key
from pages.structures import KINDS, snapshot_of


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
