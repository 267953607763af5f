#!/usr/bin/env python3
"""Computes the test vectors of links with a key, with nothing but Python's standard library.

`keyed_vectors.py` prints the table; `keyed_vectors.py PAGE` fails where PAGE has another one. It shares no
code with the crates, so that what both come to is what docs/PROTOCOL.md says.
"""

import hashlib
import hmac
import struct
import sys

KEYED, OPEN, CHALLENGE, PROOF = 9, 0, 1, 2
EXCHANGE_VERSION, MESSAGE_VERSION = 1, 2
MANAGER, WORKER = 0, 1


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def introduction(step, role, sealed, nonce, name):
    head = bytes([KEYED, step, EXCHANGE_VERSION, MESSAGE_VERSION, role, sealed])
    return head + nonce + bytes([len(name)]) + name


def exchange(key, sealed, opens, answers):
    """Each side is its role, nonce and name. Returns the three messages and the two keys."""
    open_ = introduction(OPEN, opens[0], sealed, *opens[1:]) + mac(key, b"chargehand key id")[:8]
    challenge = introduction(CHALLENGE, answers[0], sealed, *answers[1:])
    secret = mac(key, b"chargehand keyed link", open_, challenge)
    challenge += mac(secret, b"responder proof")
    proof = bytes([KEYED, PROOF]) + mac(secret, b"initiator proof")
    keys = mac(secret, b"initiator key"), mac(secret, b"responder key")
    return (open_, challenge, proof), keys


def rotate(x, n):
    return (x << n | x >> 32 - n) & 0xFFFFFFFF


def chacha20_block(key, counter, nonce):
    """RFC 8439, section 2.3."""
    start = struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce)
    x = list(start)
    columns = [(i, 4 + i, 8 + i, 12 + i) for i in range(4)]
    diagonals = [(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)]
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for to, other, mixed, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                x[to] = (x[to] + x[other]) & 0xFFFFFFFF
                x[mixed] = rotate(x[mixed] ^ x[to], bits)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(x, start)))


def poly1305(key, message):
    """RFC 8439, section 2.5."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def encrypt(key, nonce, text, data=b""):
    """ChaCha20-Poly1305, RFC 8439, section 2.8."""
    stream = b"".join(
        chacha20_block(key, 1 + block, nonce) for block in range((len(text) + 63) // 64)
    )
    cipher = bytes(a ^ b for a, b in zip(text, stream))
    padded = b"".join(part + bytes(-len(part) % 16) for part in (data, cipher))
    lengths = struct.pack("<QQ", len(data), len(cipher))
    return cipher, poly1305(chacha20_block(key, 0, nonce)[:32], padded + lengths)


def seal(key, number, message):
    cipher, tag = encrypt(key, bytes(4) + struct.pack("<Q", number), message)
    return cipher + struct.pack("<H", number & 0xFFFF) + tag


def check_cipher():
    """The example of RFC 8439, section 2.8.2."""
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        b"future, sunscreen would be it."
    )
    nonce = bytes.fromhex("070000004041424344454647")
    data = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    cipher, tag = encrypt(bytes(range(0x80, 0xA0)), nonce, text, data)
    assert cipher[:8].hex() == "d31a8d34648e60db" and len(cipher) == 114
    assert tag.hex() == "1ae10b594f09e26a7e902ecbd0600691"


def rows():
    key = bytes(range(32))
    opens = (MANAGER, b"\x11" * 32, b"pool")
    answers = (WORKER, b"\x22" * 32, b"w1")
    yield "key", key
    for sealed in (0, 1):
        kind = "sealed" if sealed else "unsealed"
        (open_, challenge, proof), (ours, theirs) = exchange(key, sealed, opens, answers)
        yield f"{kind} Open", open_
        yield f"{kind} Challenge", challenge
        yield f"{kind} Proof", proof
        if sealed:
            yield "sealed Ping, number 0 of the side that opened", seal(ours, 0, b"\5")
            yield "sealed Pong, number 0 of the other side", seal(theirs, 0, b"\6")
            yield "sealed Ping, number 65537", seal(ours, 65537, b"\5")
        else:
            yield "unsealed Ping, as the first message of the side that opened", b"\5" + mac(ours, b"\5")
            yield "unsealed Pong, as the first message of the other side", b"\6" + mac(theirs, b"\6")


def main():
    check_cipher()
    table = [f"| {name} | `{value.hex()}` |" for name, value in rows()]
    if len(sys.argv) == 1:
        print("\n".join(table))
        return
    with open(sys.argv[1], encoding="utf-8") as page:
        lines = page.read().splitlines()
    missing = [row for row in table if row not in lines]
    if missing:
        sys.exit("not in " + sys.argv[1] + ":\n" + "\n".join(missing))


main()
