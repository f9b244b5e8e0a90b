"""What the verbs take: a problem, or a certificate of one, as it is or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from memaopt.certificates import envelope
from memaopt.certificates.bundle import BundleCertificate
from memaopt.certificates.envelope import FILE
from memaopt.certificates.gemm import Certificate
from memaopt.certificates.network import NetworkCertificate
from memaopt.certificates.staging import StagingCertificate
from memaopt.errors import InputError
from memaopt.networks.graph import Graph
from memaopt.networks.layers import Conv2D, DepthwiseConv2D, FullyConnected
from memaopt.problems.gemm import Gemm
from memaopt.spelling import either

#: A product, a layer, a network or its file, or several networks for one library.
Asked = Gemm | Conv2D | DepthwiseConv2D | FullyConnected | Graph | str | Path | list[Graph | str | Path]
#: The certificate of one.
Answer = NetworkCertificate | BundleCertificate | Certificate
#: A problem or its certificate, whose file or project's folder is a path as well.
Given = Answer | Asked


def read(path: str | Path, *, staging: bool = False) -> Answer | StagingCertificate:
    """The certificate in a file, or in a project's folder, unverified, with its model at hand; ``staging``: also one of
    a network that is staged, for which there is no C. InputError if there is none."""
    file = Path(path)
    if file.is_dir() or not (file.suffix or file.exists()):
        file /= FILE
        if not file.is_file():
            writes = either(f"solve ... --out {path}", f'emit(..., "{path}")')
            raise InputError(f"{path}: no {FILE} there; write a project with {writes}")
    kinds = (*((StagingCertificate,) if staging else ()), *get_args(Answer))
    return cast("Answer | StagingCertificate", envelope.read(file, *kinds))
