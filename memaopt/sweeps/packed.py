"""Certificates, compressed: most of one is its machine, which is stored once and serves as the dictionary."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from memaopt.certificates import envelope
from memaopt.certificates.gemm import Certificate
from memaopt.errors import InputError
from memaopt.files import CERTIFICATE_BYTES, parse_json
from memaopt.sweeps.task import canonical

if TYPE_CHECKING:
    from memaopt.certificates.network import NetworkCertificate

#: zlib looks back this far, and reads so much of a dictionary.
_WINDOW = 32 << 10


def pack(certificate: envelope.Envelope, machine: str) -> bytes:
    """A certificate as zlib's bytes; ``machine`` is its machine's canonical JSON."""
    packer = zlib.compressobj(level=6, zdict=machine.encode()[:_WINDOW])
    return packer.compress(canonical(certificate.model_dump(mode="json")).encode()) + packer.flush()


def unpack(data: bytes, machine: str, where: str) -> Certificate | NetworkCertificate:
    """The certificate, unverified; InputError names ``where`` if it is none."""
    unpacker = zlib.decompressobj(zdict=machine.encode()[:_WINDOW])
    try:
        text = unpacker.decompress(data, CERTIFICATE_BYTES).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not a certificate: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise InputError(f"{where}: not a certificate: it does not end where it should")
    found = parse_json(text, where)
    if isinstance(found, dict) and found.get("format") == Certificate.form():
        return Certificate.from_json(text, where)
    from memaopt.certificates.network import NetworkCertificate  # products do without

    return NetworkCertificate.from_json(text, where)
