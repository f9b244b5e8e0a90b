"""C text: constant arrays."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_WIDTH = 112
_DIGITS = 6  # of a kernel's name; two kernels of one name and different texts are refused
_TYPES: dict[str, np.dtype[Any]] = {
    "int8_t": np.dtype(np.int8),
    "uint8_t": np.dtype(np.uint8),
    "int16_t": np.dtype(np.int16),
    "int32_t": np.dtype(np.int32),
    "int64_t": np.dtype(np.int64),
    "uint16_t": np.dtype(np.uint16),
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
}


def _apart(size: int, itemsize: int) -> int:
    """Elements of a static array of ``size`` values: equal constants of 4, 8 or 16 bytes would be merged, and their
    accesses could not be told apart, so there is one element more.
    """
    return size + (size * itemsize in (4, 8, 16))


def words_bytes(words: int) -> int:
    """Bytes of a static array of so many 32-bit values (:attr:`Array.nbytes`)."""
    return 4 * _apart(words, 4)


#: A line of a data cache, and a small such cache: what that can hold whole starts a line.
LINE, CACHE = 32, 256


class Array(NamedTuple):
    """A constant array: C type, symbol, values (flattened in C order), what it holds.

    ``alignment``: bytes, if more than the type's. A table of 256 bytes that starts a line fits a data cache of 256.
    ``attribute``: C that says where it lies. ``of``: the array that it is, by another name, where there is one.
    ``stays``: on the chip, wherever other constants are.
    """

    type: str
    name: str
    values: npt.NDArray[Any]
    comment: str
    alignment: int = 0
    attribute: str = ""
    of: str = ""
    stays: bool = False

    @property
    def symbol(self) -> str:
        """The name that a linker knows it by."""
        return self.of or self.name

    def in_lines(self, again: int = 0) -> "Array":
        """The same of an array of which ``again`` bytes at a time (0: all) are read again and again: whether a cache
        holds them depends on no linker."""
        return self._replace(alignment=LINE) if LINE < (again or self.nbytes) <= CACHE else self

    @property
    def length(self) -> int:
        """Elements: the values, and one more where equal constants would be merged."""
        size = max(int(self.values.size), 1)
        return _apart(size, _TYPES[self.type].itemsize)

    @property
    def nbytes(self) -> int:
        return self.length * _TYPES[self.type].itemsize

    @property
    def data(self) -> bytes:
        """Its values as they lie in memory."""
        return np.asarray(self.values).reshape(-1).astype(_TYPES[self.type]).tobytes()

    @property
    def _typed(self) -> str:
        return f"{self.type} {self.name}[{self.length}]"

    def definition(self) -> str:
        """``static const int32_t name[20] = { ... };`` with a comment above, or what makes it another's name."""
        if self.of:
            return f"/* {self.comment}: the same bytes */\n#define {self.name} {self.of}\n"
        flat = np.asarray(self.values).reshape(-1)
        if self.type in ("float", "double"):
            suffix = "f" if self.type == "float" else ""
            texts = [_float(float(x)) + suffix for x in flat.astype(_TYPES[self.type])]
        else:
            info = np.iinfo(str(_TYPES[self.type]))
            if flat.size and (flat.min() < info.min or flat.max() > info.max):
                raise ValueError(f"{self.name} does not fit {self.type}")
            # The most negative int32 has no decimal literal of its type.
            texts = ["INT32_MIN" if x == -(1 << 31) else str(int(x)) for x in flat]
        alignment = f"_Alignas({self.alignment}) " if self.alignment else ""
        attribute = f"{self.attribute} " if self.attribute else ""
        head = f"/* {self.comment} */\n{attribute}static const {alignment}{self._typed} = {{"
        return f"{head}\n{_wrapped(texts or ['0'])}}};\n"


def short_name(family: str, details: str) -> str:
    """A kernel's name in C: its family, and a digest of the details that tell it apart, which its comment lists."""
    return f"{family}_{hashlib.sha256(details.encode()).hexdigest()[:_DIGITS]}"


def _float(x: float) -> str:
    text = repr(x)
    return text if "." in text or "e" in text else text + ".0"


def _wrapped(texts: Sequence[str]) -> str:
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) + 2 > _WIDTH:
            lines.append(line + "\n")
            line = "   "
        line += f" {text},"
    return "".join(lines) + line + "\n"
