"""The weights of an ONNX file, read without a package for it: of the format only what holds them.

An ONNX file is one protobuf message, a sequence of numbered fields (https://protobuf.dev/programming-guides/encoding,
numbers in onnx.proto of https://github.com/onnx/onnx). Only float32 weights that lie in the file are read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vsd_utils.common.errors import VsdError

_GRAPH = 7  # field of the model
_NODE, _INITIALIZER = 1, 5  # fields of the graph
_INPUT, _NODE_NAME, _OPERATOR = 1, 3, 4  # fields of a node
_SHAPE, _TYPE, _TENSOR_NAME, _RAW = 1, 2, 8, 9  # fields of a tensor
_FLOAT = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # how a field is written


class Weights(NamedTuple):
    """Hold the file's float32 tensors by name, and which of them each matrix product reads, by the product's name."""

    tensors: dict[str, NDArray[np.float32]]
    products: dict[str, str]


def read(path: Path) -> Weights:
    """Read the weights of an ONNX file; raises ``VsdError`` for any other file."""
    try:
        graph = next(content for number, content in _fields(memoryview(path.read_bytes())) if number == _GRAPH)
        assert isinstance(graph, memoryview)
        return _weights(graph)
    except (StopIteration, IndexError, ValueError, AssertionError) as error:
        raise VsdError(f"{path}: not an ONNX file with its weights inside ({error or 'no graph'})") from None


def _weights(graph: memoryview) -> Weights:
    tensors: dict[str, NDArray[np.float32]] = {}
    nodes: list[tuple[str, list[str]]] = []
    for number, content in _fields(graph):
        if number == _INITIALIZER:
            fields = _gathered(content)
            if fields[_TYPE] == [_FLOAT] and _RAW in fields:
                raw = fields[_RAW][0]
                assert isinstance(raw, memoryview)
                values = np.frombuffer(raw, np.float32)
                tensors[_text(fields[_TENSOR_NAME][0])] = values.reshape(_numbers(fields.get(_SHAPE, [])))
        elif number == _NODE:
            fields = _gathered(content)
            if _text(fields[_OPERATOR][0]) == "MatMul":
                nodes.append((_text(fields[_NODE_NAME][0]), [_text(name) for name in fields[_INPUT]]))
    weighted = {name: [given for given in inputs if given in tensors] for name, inputs in nodes}
    return Weights(tensors, {name: given[0] for name, given in weighted.items() if len(given) == 1})


def _gathered(message: int | memoryview) -> dict[int, list[int | memoryview]]:
    assert isinstance(message, memoryview)
    found: dict[int, list[int | memoryview]] = {}
    for number, content in _fields(message):
        found.setdefault(number, []).append(content)
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number of each field and its content: a whole number, or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if place + size > len(message):
            raise ValueError("cut off")
        yield number, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Read a whole number, seven bits a byte, the lowest first; returns it and the place behind it."""
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place


def _numbers(values: list[int | memoryview]) -> list[int]:
    """Flatten a repeated whole number, which may be written one by one or packed."""
    numbers: list[int] = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        place = 0
        while place < len(value):
            number, place = _varint(value, place)
            numbers.append(number)
    return numbers


def _text(content: int | memoryview) -> str:
    assert isinstance(content, memoryview)
    return bytes(content).decode()
