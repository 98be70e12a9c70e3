"""Reads the log of an offline run of wandb: records of protobuf in the log format of LevelDB (blocks of 32 KiB)."""

import struct

BLOCK, HEADER, START = 32768, 7, 7
"""Bytes of a block, of the header before each piece, and of the head of the file."""


def records_of(path):
    """The records of a `.wandb` file, parsed with wandb's own protocol."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, pieces = path.read_bytes(), START, b""
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        pieces += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield Record.FromString(pieces)
            pieces = b""
