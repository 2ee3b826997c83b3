# SPDX-License-Identifier: Apache-2.0

"""Converts between AMQP 1.0 bytes and the canonical text of README.md, with Proton's codec (pn_data)."""
import json
import struct
from uuid import UUID

from proton import Data

FIELDS = {
    "header": ["durable", "priority", "ttl", "first-acquirer", "delivery-count"],
    "properties": ["message-id", "user-id", "to", "subject", "reply-to", "correlation-id", "content-type",
                   "content-encoding", "absolute-expiry-time", "creation-time", "group-id", "group-sequence",
                   "reply-to-group-id"],
}
MAPS = ["delivery-annotations", "message-annotations", "application-properties", "footer"]
BODIES = ["data", "amqp-sequence", "amqp-value"]
CODES = {"header": 0x70, "delivery-annotations": 0x71, "message-annotations": 0x72, "properties": 0x73,
         "application-properties": 0x74, "data": 0x75, "amqp-sequence": 0x76, "amqp-value": 0x77, "footer": 0x78}
NAMES = {code: name for name, code in CODES.items()}
ORDER = ["header", "delivery-annotations", "message-annotations", "properties", "application-properties", "body",
         "footer"]
DEFAULTS = {"durable": "false", "priority": "4", "first-acquirer": "false", "delivery-count": "0"}
# The specification's names of pn_type_t, which are also the names of the binding's accessors.
TYPES = {Data.NULL: "null", Data.BOOL: "boolean", Data.UBYTE: "ubyte", Data.BYTE: "byte", Data.USHORT: "ushort",
         Data.SHORT: "short", Data.UINT: "uint", Data.INT: "int", Data.CHAR: "char", Data.ULONG: "ulong",
         Data.LONG: "long", Data.TIMESTAMP: "timestamp", Data.FLOAT: "float", Data.DOUBLE: "double",
         Data.DECIMAL32: "decimal32", Data.DECIMAL64: "decimal64", Data.DECIMAL128: "decimal128", Data.UUID: "uuid",
         Data.BINARY: "binary", Data.STRING: "string", Data.SYMBOL: "symbol", Data.DESCRIBED: "described",
         Data.ARRAY: "array", Data.LIST: "list", Data.MAP: "map"}
CONSTANTS = {name: constant for constant, name in TYPES.items()}
INTEGERS = ["ubyte", "ushort", "uint", "ulong", "byte", "short", "int", "long", "timestamp"]
# The conversions between scalars and text. The integers and the text types need none.
TO_TEXT = {
    "boolean": lambda v: "true" if v else "false", "char": lambda v: str(ord(v)),
    "float": lambda v: struct.pack(">f", v).hex(), "double": lambda v: struct.pack(">d", v).hex(),
    "decimal32": "{:08x}".format, "decimal64": "{:016x}".format, "decimal128": bytes.hex,
    "uuid": lambda v: v.hex, "binary": lambda v: bytes(v).hex(),
}
FROM_TEXT = {
    "boolean": lambda t: t == "true", "char": lambda t: chr(int(t)),
    "float": lambda t: struct.unpack(">f", bytes.fromhex(t))[0],
    "double": lambda t: struct.unpack(">d", bytes.fromhex(t))[0],
    "decimal32": lambda t: int(t, 16), "decimal64": lambda t: int(t, 16), "decimal128": bytes.fromhex,
    "uuid": lambda t: UUID(hex=t), "binary": bytes.fromhex,
}


def accessor(data, verb, name):
    return getattr(data, verb + "_" + ("bool" if name == "boolean" else name))


def children(data):
    """Returns the values below the current node, which must be a container."""
    data.enter()
    values = []
    while data.next() is not None:
        values.append(read(data))
    data.exit()
    return values


def read(data):
    """Returns the value of the current node."""
    name = TYPES[data.type()]
    if name == "null":
        return {"t": name}
    if name == "list":
        return {"t": name, "v": children(data)}
    if name == "map":
        flat = children(data)
        return {"t": name, "v": [list(pair) for pair in zip(flat[::2], flat[1::2])]}
    if name == "described":
        descriptor, value = children(data)
        return {"t": name, "descriptor": descriptor, "v": value}
    if name == "array":
        _, described, of = data.get_array()
        values = children(data)
        descriptor = {"descriptor": values.pop(0)} if described else {}
        return {"t": name, "of": TYPES[of], **descriptor, "v": values}
    convert = (lambda v: str(int(v))) if name in INTEGERS else TO_TEXT.get(name, str)
    return {"t": name, "v": convert(accessor(data, "get", name)())}


def write(data, value):
    """Appends the value."""
    name = value["t"]
    if name == "null":
        data.put_null()
    elif name in ("list", "map", "described", "array"):
        values = value.get("v")
        if name == "map":
            values = [each for pair in values for each in pair]
        elif name == "described":
            values = [value["descriptor"], values]
        if name == "array":
            data.put_array("descriptor" in value, CONSTANTS[value["of"]])
            values = ([value["descriptor"]] if "descriptor" in value else []) + values
        else:
            accessor(data, "put", name)()
        data.enter()
        for each in values:
            write(data, each)
        data.exit()
    else:
        convert = int if name in INTEGERS else FROM_TEXT.get(name, str)
        accessor(data, "put", name)(convert(value["v"]))


def section(name, value):
    data = Data()
    write(data, {"t": "described", "descriptor": {"t": "ulong", "v": str(CODES[name])}, "v": value})
    return data.encode()


def encode_message(message):
    """Returns the bytes of a message that was parsed from its canonical text."""
    encoded = b""
    for name in ORDER:
        if name not in message:
            continue
        value = message[name]
        if name in FIELDS:
            fields = [value.get(field, {"t": "null"}) for field in FIELDS[name]]
            while fields and fields[-1]["t"] == "null":
                fields.pop()
            encoded += section(name, {"t": "list", "v": fields})
        elif name in MAPS:
            encoded += section(name, {"t": "map", "v": value})
        else:
            for part in value:
                kind = part["section"]
                wrapped = {"data": {"t": "binary", "v": part["v"]}, "amqp-sequence": {"t": "list", "v": part["v"]}}
                encoded += section(kind, wrapped.get(kind, part["v"]))
    return encoded


def decode_message(encoded):
    """Returns the canonical text of a message's bytes."""
    found = {}
    while encoded:
        data = Data()
        encoded = encoded[data.decode(encoded):]
        data.rewind()
        data.next()
        part = read(data)
        name = NAMES[int(part["descriptor"]["v"])]
        value = part["v"]["v"] if name != "amqp-value" else part["v"]
        if name in FIELDS:
            fields = zip(FIELDS[name], value)
            value = {key: each for key, each in fields if each["t"] != "null" and each["v"] != DEFAULTS.get(key)}
        if name in BODIES:
            found.setdefault("body", []).append({"section": name, "v": value})
        elif value:
            found[name] = value
    return json.dumps({name: found[name] for name in ORDER if name in found}, ensure_ascii=False,
                      separators=(",", ":"))
