"""Bodies that rkyv has laid out: frames on the wire, and the checkpoint."""

import struct

from pages.structures import need


# A type is an integer's size, "flag", "text", ("bytes", n), ("list", type), ("optional", type), ("structure", name, fields) or
# ("choice", [(name, fields), ...]); fields are pairs of name and type.


def layout(kind):
    """Length and alignment."""
    if isinstance(kind, int):
        return kind, kind
    if kind == "flag":
        return 1, 1
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
    if kind == "flag":
        need(body[at] < 2, "neither 0 nor 1")
        return body[at] == 1
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
FORK = ("structure", "WireFork", [("domain", ID), ("number", 8)])
ANNOUNCEMENT = ("structure", "Announcement", [("federation", ID), ("domain", ID), ("number", 8), ("hash", ID), ("logseq", 8),
                                      ("snapshot", ID), ("state_root", ID)])
DELTA = ("Delta", [("federation", ID), ("domain", ID), ("after", 8), ("after_hash", ID)])
PAYLOAD = ("Payload", [("federation", ID), ("checksum", ID), ("offset", 8), ("len_max", 8)])
JOIN = ("Join", [("federation", ID), ("token", ("bytes", 16)), ("name", "text")])
ANSWERS = [("Delta", [("commits", ("list", BYTES)), ("commits_left", 8)]), ("Payload", [("total_len", 8), ("bytes", BYTES)]),
           ("Admitted", [("domain", ID), ("commit", ID)]), ("Welcome", [])]


def reasons(*names):
    return ("Refused", [("reason", ("choice", [(name, []) for name in names]))])


POSITION_1 = ("structure", "Position", [("heads", ("list", HEAD)), ("logseq_max", 8), ("state_root", ID),
                                        ("fork_proofs", ("list", BYTES)), ("contacts", ("list", CONTACT))])
POSITION_2 = ("structure", "Position", [("snapshot", ID), ("logseq_max", 8), ("state_root", ID), ("forks", ID)])
# By version of the protocol.
FRAMES = {
    1: {
        "announcement": ANNOUNCEMENT,
        "request": ("choice", [
            ("Frontier", [("federation", ID), ("position", POSITION_1)]), DELTA, PAYLOAD,
            ("Read", [("federation", ID), ("member", ID), ("signature", ("bytes", 64))]), JOIN]),
        "response": ("choice", [("Frontier", [("position", POSITION_1)])] + ANSWERS + [
            reasons("OtherFederation", "NotAMember", "NotHere", "Forked", "TicketUnknown", "Malformed", "Failed")]),
    },
    2: {
        "announcement": ANNOUNCEMENT,
        "request": ("choice", [
            ("Frontier", [("federation", ID), ("position", POSITION_2), ("after", ("optional", ID))]),
            ("Forks", [("federation", ID), ("after", ("optional", ID))]),
            ("Proofs", [("federation", ID), ("domains", ("list", ID))]),
            ("Testimony", [("federation", ID), ("sites", ("list", ID))]), DELTA, PAYLOAD,
            ("Read", [("federation", ID), ("member", ID), ("expires_ms", 8), ("signature", ("bytes", 64))]), JOIN]),
        "response": ("choice", [
            ("Frontier", [("position", POSITION_2), ("heads", ("list", HEAD)), ("has_more", "flag"),
                          ("contacts", ("list", CONTACT))]),
            ("Forks", [("forks", ("list", FORK)), ("has_more", "flag")]), ("Proofs", [("proofs", ("list", BYTES))]),
            ("Testimony", [("commits", ("list", BYTES))]),
        ] + ANSWERS + [reasons("NotAdmitted", "NotHere", "Forked", "Malformed", "Failed")]),
    },
}
PAIR = ("structure", None, [("key", ID), ("value", 8)])
RUN = ("structure", None, [("number", 4), ("range", ("structure", None, [("from", 8), ("to", 8)])),
                           ("seals", ("list", ("bytes", 16)))])
DOMAIN = ("structure", None, [("site", ID), ("last", ("optional", BYTES)), ("peaks", ("optional", ("list", ID))),
                              ("knows", ("list", ID)), ("admitted", ("list", ID)), ("readmissions", 8), ("testimony", 8)])
MEMBERSHIP = ("structure", None, [("hash", ID), ("domain", ID), ("number", 8), ("logseq", 8), ("members", ("list", ID)),
                                  ("is_news", 1)])
VALIDATOR = ("structure", None, [("genesis", ("optional", BYTES)), ("domains", ("list", DOMAIN)),
                             ("memberships", ("list", MEMBERSHIP)), ("forks", ("list", BYTES)), ("logseq_max", 8)])
CHECKPOINT = ("structure", None, [
    ("through", 8), ("shards", 4), ("next_run", 4), ("runs", ("list", RUN)), ("domains", ("list", PAIR)), ("validator", VALIDATOR),
    ("unaccepted", 8), ("unaccepted_heads", ("list", PAIR)), ("lanes", ("list", 2)), ("entries", 8),
    ("conflicts", ("list", ID)), ("wanted", ("list", PAIR)), ("erased", ("list", PAIR)), ("testimony", ("list", PAIR))])
