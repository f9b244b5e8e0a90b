"""A GEMM's certificate as a file: read as it was written, whole or not at all; anything else is one clear line."""

import json
import os
from pathlib import Path

import pytest
from gemm_certificates_helpers import certified, fields

from memaopt.certificates.gemm import Certificate, verify
from memaopt.errors import InputError


def test_the_digest_does_not_depend_on_the_layout_of_the_text() -> None:
    """Catches a digest over one particular rendering: keys reordered and no indentation is the same certificate."""
    data = fields(certified("s8 mixed"))
    verify(Certificate.from_json(json.dumps(dict(reversed(data.items())))))


def test_an_order_of_loops_has_each_once() -> None:
    """Catches an order that is none, on which the cost function stumbled."""
    data = fields(certified("s8 mixed"))
    data["schedule"]["order"] = ["m", "k", "k"]
    with pytest.raises(InputError, match=r"schedule\.order: each of the loops m, k and n is there once"):
        Certificate.from_json(json.dumps(data))


def test_write_and_read(tmp_path: Path) -> None:
    """Catches a file that is not what was certified."""
    path = tmp_path / "gemm.json"
    cert = certified("q15 spilling")
    cert.write(path)
    assert Certificate.read(path) == cert
    verify(path)
    verify(str(path))
    assert os.listdir(tmp_path) == ["gemm.json"]


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -2])
def test_a_truncated_file_is_said_to_be_so(tmp_path: Path, keep: float) -> None:
    """Catches a traceback, or a message without file and line, for a file cut short."""
    text = certified("q15 spilling").to_json()
    path = tmp_path / "cut.json"
    path.write_text(text[: int(keep * len(text)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=r"cut\.json:\d+: not valid JSON"):
        verify(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a certificate"),
        ("{}", "not a certificate: machine"),
        ('{"problem": 1' + "0" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("\x00", "not valid JSON"),
        ('{"gap": NaN}', "not a certificate"),
    ],
)
def test_what_is_no_certificate_is_one_clear_line(text: str, message: str) -> None:
    """Catches tracebacks on hostile text."""
    with pytest.raises(InputError, match=message) as caught:
        Certificate.from_json(text, "odd.json")
    assert str(caught.value).startswith("odd.json")
    assert "\n" not in str(caught.value)


def test_numbers_of_another_type_are_refused() -> None:
    """Catches text or fractions taken for integers."""
    data = fields(certified("s8 mixed"))
    for value in ("9", 9.5, None, True):
        data["schedule"]["mc"] = value
        with pytest.raises(InputError, match=r"schedule\.mc"):
            Certificate.from_json(json.dumps(data))


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    """Catches a traceback for a binary file given as a certificate."""
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        verify(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    """Catches tracebacks where a file or its folder is not there, or the path is a folder."""
    with pytest.raises(InputError, match="cannot be read"):
        verify(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match="cannot be read"):
        verify(tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        certified("s8 mixed").write(tmp_path / "no" / "such.json")


def test_nothing_half_written_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a truncated file, or the old one lost, when the disk fills while writing."""
    path = tmp_path / "gemm.json"
    path.write_text("what was there")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"gemm\.json: cannot be written: No space left on device"):
        certified("s8 mixed").write(path)
    assert path.read_text() == "what was there"
    assert os.listdir(tmp_path) == ["gemm.json"]
