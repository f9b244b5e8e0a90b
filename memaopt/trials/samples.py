"""A user's samples: read from a file or a folder, and turned into what a network takes."""

from __future__ import annotations

import csv
import io
import wave
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MissingToolError
from memaopt.files import read_bytes
from memaopt.fixedpoint import round_half_away_from_zero
from memaopt.networks.graph import DType, Tensor

Array = npt.NDArray[Any]
_MOST_BYTES = 4 << 30
_NPY = b"\x93NUMPY"
_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm"}
#: What the pixels 0 and 255 stand for in networks, as they are trained.
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-128.0, 127.0))
_LABELS = ("y", "labels", "y_test", "targets")


class Samples(NamedTuple):
    """``inputs`` as the network takes them, sample by sample; ``labels`` are classes, or real outputs, or unknown;
    ``pixels`` what a pixel of 0 and one of 255 stand for, of pictures; ``classes`` the names of a folder's subfolders,
    each at its label.
    """

    inputs: Array
    labels: Array | None
    pixels: tuple[float, float] | None = None
    classes: tuple[str, ...] = ()


def read(path: Path, tensor: Tensor, labels: Path | None = None, pixels: tuple[float, float] | None = None) -> Samples:
    """The samples in an ``.npz``, ``.npy`` or ``.csv``, or in a folder of pictures or of WAV files, for an input.

    A folder's subfolders are the classes, in the order of their names; its pictures become grey for a network of one
    channel, and red, green and blue for one of three. Floats are quantised as the tensor says.
    ``pixels``: what 0 and 255 stand for in a picture; None: what :func:`range_of` says of the tensor.
    InputError for what cannot be read, or has another size than the input.
    """
    values, known, classes = _read(path, tensor.shape[-1])
    if labels is not None:
        known, classes = _array(labels), ()
    if tensor.shape[0] != 1:
        raise InputError(f"{path}: the network takes {tensor.shape[0]} samples at a time; one is expected")
    if len(values) == 0:
        raise InputError(f"{path}: holds no samples")
    if values[0].size != tensor.elements:
        found = "x".join(map(str, values.shape[1:])) or "1"
        raise InputError(f"{path}: its samples are {found}, the network takes {'x'.join(map(str, tensor.shape[1:]))}")
    if known is not None and len(known) != len(values):
        raise InputError(f"{labels or path}: {len(known):,} labels for {len(values):,} samples")
    pictures = path.is_dir() and values.dtype == np.uint8
    if pixels is not None and not pictures:
        raise InputError(f"--pixels has no effect on {path}: it holds no pictures")
    ends = (pixels or range_of(tensor)) if pictures else None
    if ends is not None:
        values = (ends[0] + values.astype(np.float64) * (ends[1] - ends[0]) / 255).astype(np.float32)
    return Samples(quantised(values.reshape(-1, *tensor.shape[1:]), tensor), known, ends, classes)


def quantised(values: Array, tensor: Tensor) -> Array:
    """Values as the tensor has them: of its own type as they are, floats by its scale as QUANTIZE rounds them."""
    if values.dtype == tensor.dtype.numpy:
        return values
    if tensor.dtype is DType.FLOAT32:
        return values.astype(np.float32)
    if not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"its samples are {values.dtype}, the network takes {tensor.dtype.value} or floats")
    with np.errstate(over="ignore"):
        steps = np.nan_to_num(values.astype(np.float32) / np.float32(tensor.scale), nan=0.0)
    held = np.iinfo(tensor.dtype.numpy)
    rounded = round_half_away_from_zero(np.clip(steps, -(2.0**31), 2.0**31)) + tensor.zero_point
    made: Array = np.clip(rounded, held.min, held.max).astype(tensor.dtype.numpy)
    return made


def range_of(tensor: Tensor) -> tuple[float, float]:
    """What the pixels 0 and 255 stand for: of the usual ranges the one whose ends are nearest to the least and the most
    that the input can say, as parts of its width; 0 to 1 for floats.
    """
    if tensor.dtype is DType.FLOAT32:
        return _RANGES[0]
    held, scale = np.iinfo(tensor.dtype.numpy), float(tensor.scale)
    least, most = (scale * (end - tensor.zero_point) for end in (held.min, held.max))
    return min(_RANGES, key=lambda ends: (abs(ends[0] - least) + abs(ends[1] - most)) / (ends[1] - ends[0]))


def _read(path: Path, channels: int) -> tuple[Array, Array | None, tuple[str, ...]]:
    if path.is_dir():
        return _folder(path, channels)
    if path.suffix == ".npz":
        return *_archive(path), ()
    return _array(path), None, ()


def _array(path: Path) -> Array:
    data = read_bytes(path, _MOST_BYTES)
    if path.suffix != ".csv" and not data.startswith(_NPY):
        raise InputError(f"{path}: no array that can be read: give .npz, .npy, .csv, or a folder of pictures or sounds")
    try:
        if path.suffix == ".csv":
            text = data.decode("utf-8")
            rows = [row for row in csv.reader(io.StringIO(text)) if row]
            if len({len(row) for row in rows}) > 1:
                raise InputError(f"{path}: its rows are not equally long")
            numbers = np.array([[float(cell) for cell in row] for row in rows[_heading(rows) :]], np.float32)
            return _numbers(path, numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers)
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, csv.Error) as error:
        raise InputError(f"{path}: no array that can be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path}: holds no array of samples")
    return _numbers(path, found)


def _numbers(path: Path, found: Array) -> Array:
    """An array of numbers, one or more for each sample; InputError for another."""
    if found.ndim == 0 or not np.issubdtype(found.dtype, np.number):
        raise InputError(
            f"{path}: holds {found.dtype} of shape {list(found.shape)}: numbers for each sample are expected"
        )
    if np.isnan(found).any():
        raise InputError(f"{path}: holds NaN, which is no value")
    return found


def _heading(rows: list[list[str]]) -> int:
    """1 if the first row has names instead of numbers."""
    try:
        [float(cell) for cell in rows[0]] if rows else []
    except ValueError:
        return 1
    return 0


def _archive(path: Path) -> tuple[Array, Array | None]:
    data = read_bytes(path, _MOST_BYTES)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise InputError(f"{path}: no archive of arrays, as numpy.savez writes it")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: no archive of arrays: {' '.join(str(error).split())[:200]}") from None
    label = next((name for name in _LABELS if name in arrays), None)
    inputs = [name for name in arrays if name != label]
    if len(inputs) != 1:
        raise InputError(
            f"{path}: holds {', '.join(arrays) or 'nothing'}: one array of samples is expected, and labels as one of "
            f"{', '.join(_LABELS)}"
        )
    return _numbers(path, arrays[inputs[0]]), None if label is None else _numbers(path, arrays[label])


def _folder(path: Path, channels: int) -> tuple[Array, Array | None, tuple[str, ...]]:
    classes = [child for child in _seen(path) if child.is_dir()]
    homes = [(child, number) for number, child in enumerate(classes)] or [(path, 0)]
    found = [(file, number) for home, number in homes for file in _seen(home) if file.is_file()]
    wanted = f"pictures ({', '.join(sorted(_PICTURES))}) or of .wav files"
    if not found:
        raise InputError(f"{path}: a folder of {wanted} is expected, or of folders of them")
    kinds = _PICTURES if found[0][0].suffix.lower() in _PICTURES else {".wav"}
    other = next((file for file, _ in found if file.suffix.lower() not in kinds), None)
    if other is not None:
        raise InputError(f"{other}: a folder of {wanted}, and of nothing else, is expected")
    values = [_sound(file) if kinds == {".wav"} else _picture(file, channels) for file, _ in found]
    odd = next((file for (file, _), value in zip(found, values, strict=True) if value.shape != values[0].shape), None)
    if odd is not None:
        raise InputError(f"{odd}: has another size than {found[0][0].name}: give all of them the network's")
    labels = np.array([number for _, number in found]) if classes else None
    return np.stack(values), labels, tuple(child.name for child in classes)


def _seen(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without what is hidden."""
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))


def _picture(file: Path, channels: int) -> Array:
    try:
        from PIL import Image
    except ImportError:
        raise MissingToolError("reading pictures needs Pillow: pip install pillow") from None
    try:
        with Image.open(file) as picture:
            usual = "L" if picture.mode in ("1", "L") else "RGB"
            made = np.asarray(picture.convert({1: "L", 3: "RGB"}.get(channels, usual)))
            return made[..., None] if channels == 1 else made
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{file}: no picture that can be read: {error}") from None


def _sound(file: Path) -> Array:
    """Samples of 16 bits, one channel, as floats from -1 to 1."""
    try:
        with wave.open(str(file), "rb") as sound:
            if sound.getsampwidth() != 2 or sound.getnchannels() != 1:
                raise InputError(f"{file}: one channel of 16 bits is expected")
            return np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768
    except (wave.Error, OSError, EOFError) as error:
        raise InputError(f"{file}: no WAV file that can be read: {error}") from None
