"""The tuple layer, once more: what stack_machine.py packs is compared with what other implementations pack."""
import struct


class Single:
    """A float of 4 bytes."""

    def __init__(self, bits):
        self.bits = bits


class Double:
    def __init__(self, bits):
        self.bits = bits


class Stamp:
    """A versionstamp: 12 bytes; ten bytes of ff: not known yet."""

    def __init__(self, data):
        self.data = data

    def incomplete(self):
        return self.data[:10] == b"\xff" * 10


class Uuid:
    def __init__(self, data):
        self.data = data


def _escaped(data):
    return data.replace(b"\x00", b"\x00\xff") + b"\x00"


def _integer(value):
    if value == 0:
        return b"\x14"
    size = (abs(value).bit_length() + 7) // 8
    magnitude = abs(value) if value > 0 else (1 << (8 * size)) - 1 - abs(value)
    data = magnitude.to_bytes(size, "big")
    if size <= 8:
        return bytes([0x14 + size if value > 0 else 0x14 - size]) + data
    return (bytes([0x1D, size]) if value > 0 else bytes([0x0B, size ^ 0xFF])) + data


def _ordered(bits):
    return bytes(byte ^ 0xFF for byte in bits) if bits[0] & 0x80 else bytes([bits[0] ^ 0x80]) + bits[1:]


def _unordered(data):
    return bytes([data[0] ^ 0x80]) + data[1:] if data[0] & 0x80 else bytes(byte ^ 0xFF for byte in data)


def _element(value, nested):
    if value is None:
        return b"\x00\xff" if nested else b"\x00"
    if isinstance(value, bool):
        return b"\x27" if value else b"\x26"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, bytes):
        return b"\x01" + _escaped(value)
    if isinstance(value, str):
        return b"\x02" + _escaped(value.encode())
    if isinstance(value, Single):
        return b"\x20" + _ordered(value.bits)
    if isinstance(value, Double):
        return b"\x21" + _ordered(value.bits)
    if isinstance(value, Uuid):
        return b"\x30" + value.data
    if isinstance(value, Stamp):
        return b"\x33" + value.data
    return b"\x05" + b"".join(_element(item, True) for item in value) + b"\x00"


def pack(*items):
    return b"".join(_element(item, False) for item in items)


def _read_escaped(data, at):
    out = bytearray()
    while True:
        end = data.index(b"\x00", at)
        out += data[at:end]
        if data[end + 1:end + 2] != b"\xff":
            return bytes(out), end + 1
        out.append(0)
        at = end + 2


def _read(data, at, nested):
    code = data[at]
    at += 1
    if code == 0x00:
        return None, at + (1 if nested else 0)
    if code in (0x01, 0x02):
        text, at = _read_escaped(data, at)
        return (text if code == 0x01 else text.decode()), at
    if code == 0x05:
        items = []
        while data[at] != 0 or data[at + 1:at + 2] == b"\xff":
            item, at = _read(data, at, True)
            items.append(item)
        return items, at + 1
    if 0x0B <= code <= 0x1D:
        size, negative = abs(code - 0x14), code < 0x14
        if code in (0x0B, 0x1D):
            size = data[at] ^ (0xFF if negative else 0)
            at += 1
        value = int.from_bytes(data[at:at + size], "big")
        return (value - ((1 << (8 * size)) - 1) if negative else value), at + size
    if code in (0x20, 0x21):
        size = 4 if code == 0x20 else 8
        return (Single if size == 4 else Double)(_unordered(data[at:at + size])), at + size
    if code in (0x26, 0x27):
        return code == 0x27, at
    if code == 0x30:
        return Uuid(data[at:at + 16]), at + 16
    if code == 0x33:
        return Stamp(data[at:at + 12]), at + 12
    raise ValueError(f"not a tuple: code {code:#x} at {at - 1}")


def unpack(data):
    items, at = [], 0
    while at < len(data):
        item, at = _read(data, at, False)
        items.append(item)
    return items


def stamp_place(items):
    """Where in pack(*items) the one incomplete versionstamp's ten bytes begin; None without one, -1 with several."""
    whole = pack(*items)
    found = []

    def walk(values, nested, at):
        for value in values:
            if isinstance(value, Stamp) and value.incomplete():
                found.append(at + 1)
            if isinstance(value, (list, tuple)):
                walk(value, True, at + 1)
            at += len(_element(value, nested))

    walk(items, False, 0)
    assert all(whole[place:place + 10] == b"\xff" * 10 for place in found)
    return None if not found else found[0] if len(found) == 1 else -1


def single(value):
    return Single(struct.pack(">f", value))


def double(value):
    return Double(struct.pack(">d", value))
