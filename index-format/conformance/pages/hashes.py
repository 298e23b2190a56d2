"""BLAKE3 and Ed25519, slow and without a package."""

import hashlib
import struct


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
