"""Which commits are accepted, and what is visible. index-format/FORMAT.md."""

import struct

from pages.hashes import derive_key
from pages.structures import KINDS, snapshot_of


class CommitValidator:
    """The rules under "Which commits are accepted"."""

    def __init__(self, federation):
        self.federation, self.forks = federation, {}
        self.restart()

    def restart(self):
        self.genesis, self.logseq_max = None, 0
        self.chains, self.knows, self.memberships = {}, {}, {}
        self.admitted, self.readmissions = {}, {}

    def offer(self, commit):
        """What becomes of a commit that arrives; takes it in if it is accepted or testifies."""
        verdict = self.validate(commit)
        jump_max = self.genesis["logseq_jump_max"] if self.genesis else None
        if verdict == "accepted" and self.genesis and commit.logseq > self.logseq_max + jump_max:
            return "parked"
        return self.take(commit, verdict)

    def validate(self, commit):
        chain = self.chains.get(commit.domain, [])
        if commit.number <= len(chain):
            return "known" if chain[commit.number - 1].hash == commit.hash else "forks"
        if commit.domain in self.forks and commit.number >= self.forks[commit.domain]["number"]:
            return self.testimony(commit)
        if commit.number > len(chain) + 1:
            return "parked"
        if not commit.continues([one.hash for one in chain]) or chain and commit.logseq <= chain[-1].logseq:
            return "rejected"
        knows = self.knows.get(commit.domain, set()) | set(commit.learned)
        digest = derive_key("uor 2026-11 federation state v1", b"".join(bytes.fromhex(name) for name in sorted(knows)))
        if digest.hex() != commit.federation or len(knows) + is_membership(commit) > 65536:
            return "rejected"
        if commit.number == 1 and not self.founds(commit):
            named = [self.memberships.get(name) for name in commit.learned]
            if not any(found and commit.domain in found[0] and found[1] < commit.logseq for found in named):
                return "parked" if None in named else "rejected"
        return "accepted" if self.are_ours(commit) else "rejected"

    def founds(self, commit):
        return commit.number == 1 and any(record["kind"] == "genesis" and record["id"] == self.federation
                                          and record["body"]["founder"] == commit.domain for record in commit.records)

    def are_ours(self, commit):
        """Whether its membership records are this federation's, and a genesis stands where one may."""
        return all(record["id"] == self.federation and self.founds(commit) if record["kind"] == "genesis"
                   else record["kind"] != "admission" or record["body"]["federation"] == self.federation
                   for record in commit.records)

    def testimony(self, commit):
        if commit.hash in self.memberships:
            return "known"
        if not is_membership(commit) or not self.are_ours(commit):
            return "rejected"
        admits = [logseq for sites, logseq in self.memberships.values() if commit.domain in sites]
        return "testifies" if self.founds(commit) or min(admits, default=commit.logseq) < commit.logseq else "parked"

    def take(self, commit, verdict):
        if verdict in ("accepted", "testifies"):
            self.take_memberships(commit)
        if verdict == "accepted":
            own = {commit.hash} if is_membership(commit) else set()
            self.chains.setdefault(commit.domain, []).append(commit)
            self.knows[commit.domain] = self.knows.get(commit.domain, set()) | set(commit.learned) | own
            self.logseq_max = max(self.logseq_max, commit.logseq)
        return verdict

    def take_memberships(self, commit):
        admitted, sites, is_news = self.admitted.setdefault(commit.domain, set()), set(), False
        for record in commit.records:
            if record["kind"] == "genesis":
                self.genesis, is_news = record["body"], True
                sites.add(record["body"]["founder"])
            if record["kind"] == "admission" and (len(admitted) < 1024 or record["body"]["site"] in admitted):
                is_news |= record["body"]["site"] not in admitted
                admitted.add(record["body"]["site"])
                sites.add(record["body"]["site"])
        if is_membership(commit) and not is_news:
            self.readmissions[commit.domain] = self.readmissions.get(commit.domain, 0) + 1
        if sites and (is_news or self.readmissions[commit.domain] <= 64):
            self.memberships[commit.hash] = (sites, commit.logseq)

    def freeze(self, proof):
        known = self.forks.get(proof["domain"])
        if known and known["number"] <= proof["number"]:
            return False
        self.forks[proof["domain"]] = proof
        return True

    def validate_all(self, commits):
        """Validates the commits of a log, again and again until nothing more is accepted or testifies; gives those that are not accepted."""
        self.restart()
        waiting, testified = list(commits), []
        while True:
            left = []
            for commit in waiting:
                verdict = self.take(commit, self.validate(commit))
                if verdict == "testifies":
                    testified.append(commit)
                elif verdict not in ("accepted", "known"):
                    left.append(commit)
            if len(left) == len(waiting):
                return left + testified
            waiting = left

    def members(self):
        return sorted({site for sites, _ in self.memberships.values() for site in sites})

    def all(self):
        return [commit for chain in self.chains.values() for commit in chain]

    def head(self):
        heads = [{"domain": domain, "number": len(chain), "hash": chain[-1].hash}
                 for domain, chain in sorted(self.chains.items())]
        return {"logseq_max": max([commit.logseq for commit in self.all()], default=0), "frontier": heads}


def is_membership(commit):
    return any(record["kind"] in ("genesis", "admission") for record in commit.records)


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
