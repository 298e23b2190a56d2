#!/usr/bin/env python3
"""A second reader of uor stores, written from two pages: index-format/FORMAT.md and asl/FORMAT.md.

It reads a store's log, index and packs, validates commits, replays them, and computes entries, conflicts and state roots. It
needs Python 3.8 and nothing else; it is slow and meant to be read beside the pages, as its modules in `pages/` are.

    reader.py DIR            checks a conformance set, such as the directory this file lies in
    reader.py --state STORE  prints entries, conflicts and the state root of one store as JSON

Payloads that are compressed are not unpacked: Python has no zstd everywhere. Exit status: 0 all agree, 1 something differs.
"""

import json
import os
import sys

sys.dont_write_bytecode = True  # the set is compared with what it was made of

from pages.archive import FRAMES, root_of
from pages.files import identity, read_log
from pages.index import check_index
from pages.packs import Packs, check_runs
from pages.state import CommitValidator, state_at
from pages.structures import (RULES, Commit, Cursor, Damage, Refused, body_of, fork_proof, need, outcome_of, program_of,
                              record_of, record_proof, snapshot_of, ticket_of, tree_of)


def read_store(store):
    federation = identity(store)
    packs = Packs(store)
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
    validator = CommitValidator(federation)
    for proof in proofs:
        validator.freeze(proof)
    unaccepted = validator.validate_all(commits)
    return {"validator": validator, "commits": commits, "proofs": proofs, "unaccepted": unaccepted, "torn": torn, "packs": packs,
            "erased": log_erased, "entries": entries}


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
    validator = found["validator"]
    rule = RULES[validator.genesis["conflict_rule"]] if validator.genesis else "first"
    report.same(f"{name}: torn tails", [found["torn"]] if found["torn"] else [], expected["torn_tails"])
    report.same(f"{name}: commits", len(validator.all()), expected["commits"])
    report.same(f"{name}: unaccepted", len(found["unaccepted"]), expected["unaccepted"])
    report.same(f"{name}: members", validator.members(), expected["members"])
    report.same(f"{name}: forks", [validator.forks[domain] for domain in sorted(validator.forks)], expected["forks"])
    blocks = [finding for finding in expected["findings"] if finding["kind"] == "block"]
    report.same(f"{name}: damaged blocks", found["packs"].damages,
                [{"file": finding["file"], "offset": finding["offset"]} for finding in blocks])
    check_state(report, f"{name}: head", validator, validator.head(), rule, expected["head"])
    for snapshot in expected["snapshots"]:
        check_state(report, f"{name}: snapshot `{snapshot['about']}`", validator, snapshot, rule, snapshot)
    if found["packs"].visible is None:
        print(f"skipped: payloads of {name}, which take zstd")
    else:
        check_payloads(report, name, found, expected)
    report.same(f"{name}: index of blocks", check_runs(store, found["packs"]), [])
    wrong, checkpoint = check_index(store, found["entries"])
    of_index = [finding for finding in expected["findings"] if finding["kind"] == "index"] or expected["index_is_unusable"]
    report.same(f"{name}: the index is sound", not wrong, not of_index)
    if checkpoint and not wrong:
        report.same(f"{name}: validator of the checkpoint", checkpoint["validator"]["forks"], [])
        report.same(f"{name}: lanes of the checkpoint", len(checkpoint["lanes"]), 1024)
    check_offered(report, name, found, expected)


def check_state(report, where, validator, snapshot, rule, expected):
    found = state_at(validator.all(), snapshot, rule)
    bare = [{key: value for key, value in entry.items() if key != "about"} for entry in expected["entries"]]
    words = {entry["id"]: entry.get("about") for entry in expected["entries"]}
    for entry, other in zip(found["entries"], bare):
        report.same(f"{where}: entry `{words.get(entry['id'])}`", entry, other)
    report.same(f"{where}: number of entries", len(found["entries"]), len(bare))
    for key in ("logseq_max", "frontier", "snapshot_id", "records", "state_root", "state_sum", "conflicts"):
        report.same(f"{where}: {key}", found[key], expected[key])


def check_payloads(report, name, found, expected):
    packs = found["packs"]
    absent = [entry for entry in expected["head"]["entries"]
              if entry["kind"] in ("artifact", "receipt") and entry["checksum"] and entry["checksum"] not in packs.visible]
    erased = [entry["id"] for entry in absent if entry["checksum"] in packs.erased | found["erased"]]
    report.same(f"{name}: payloads", len(packs.visible), expected["payloads"])
    report.same(f"{name}: erased", erased, expected["erased"])
    report.same(f"{name}: missing", [entry["id"] for entry in absent if entry["id"] not in erased], expected["missing"])


def check_offered(report, name, found, expected):
    """Offers once more what was offered to the store, after what was in it before."""
    offered = expected.get("offered", [])
    taken = {offer["commit"] for offer in offered if offer.get("verdict") in ("accepted", "testifies", "forks")}
    validator = CommitValidator(found["validator"].federation)
    log = [(body.hex(), Commit(body)) for _, _, kind, body in found["entries"] if kind == 1]
    before = [commit for text, commit in log if text not in taken] if offered else []
    validator.validate_all(before)
    for offer in offered:
        if "fork_proof" in offer:
            proof = fork_proof(bytes.fromhex(offer["fork_proof"]))
            report.same(f"{name}: {offer['about']}", validator.freeze(proof), offer["is_news"])
            validator.validate_all(before)
            continue
        commit = Commit(bytes.fromhex(offer["commit"]))
        verdict = validator.offer(commit)
        report.same(f"{name}: {offer['about']}", verdict, offer["verdict"])
        if verdict in ("accepted", "testifies", "forks"):
            before.append(commit)
        if verdict == "forks":
            twin = validator.chains[commit.domain][commit.number - 1]
            validator.freeze({"domain": commit.domain, "number": commit.number, "hashes": sorted([twin.hash, commit.hash])})
            validator.validate_all(before)


def commit_of(data):
    commit = Commit(data)
    need(len(data) > 240, "a header alone")
    shown = ("hash", "domain", "number", "version", "history", "logseq", "federation", "wall_ms", "learned", "records")
    return {name: getattr(commit, name) for name in shown}


STRUCTURES = {
    "commit": commit_of, "record proof": record_proof, "tree": tree_of, "program": program_of, "outcome": outcome_of, "snapshot": snapshot_of, "fork proof": fork_proof,
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
    version = frames["protocol_version"]
    if version not in FRAMES:
        print(f"skipped: frames of protocol version {version}, this reader knows {sorted(FRAMES)}")
        return
    for value in frames["frames"]:
        data = bytes.fromhex(value["hex"])
        report.same(f"frames: {value['about']}: version", data[0], version)
        shown = root_of(data[1:], FRAMES[version][value["about"].split(".")[0]])
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
    validator = found["validator"]
    rule = RULES[validator.genesis["conflict_rule"]] if validator.genesis else "first"
    print(json.dumps(state_at(validator.all(), validator.head(), rule), indent=1))
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--state":
        sys.exit(show_state(sys.argv[2]))
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(check_set(sys.argv[1]))
