"""Certified schedules as C projects."""

from pathlib import Path
from typing import TYPE_CHECKING

from memaopt.arguments import public

if TYPE_CHECKING:
    from memaopt.certificates.gemm import Certificate


@public
def emit(certificate: "Certificate", folder: str | Path) -> Path:
    """Write the C project of a certified GEMM into ``folder`` and return the path of its main C file.

    The function, its test vector, ``main.c``, a Makefile, a CMakeLists.txt and the certificate; same certificate,
    same bytes. Files appear whole or not at all; InputError if the folder cannot be written.
    """
    from memaopt.emit import gemm
    from memaopt.writer import write_files

    return write_files(gemm.files(certificate), folder) / f"{gemm.name_of(certificate)}.c"


__all__ = ["emit"]
