"""A certificate that speaks of a model's file, which lies beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr

from memaopt.certificates.envelope import Named
from memaopt.errors import FalseClaimError, InputError
from memaopt.networks.formats.model import Model
from memaopt.networks.reading import PLAIN, Wanted


class OfModel(Named):
    """``model`` is the name of a file beside the certificate's, ``model_sha256`` the digest of its bytes."""

    model: str = Field(min_length=1)
    model_sha256: str
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def model_file(self) -> Model:
        """The model that it speaks of, from the file beside it; InputError if it is not at hand."""
        if self._folder is None:
            raise InputError(
                f"{self.name}: its model is not at hand: read the certificate from its file, with {self.model} beside"
            )
        if Path(self.model).name != self.model or not self.model.isprintable():
            raise InputError(f"{self.name}: the model {self.model!r} is not the name of a file beside the certificate")
        return Model.read(self._folder / self.model, self._asked(self._folder))

    def _asked(self, folder: Path) -> Wanted:
        """What is asked of the model, with files in the certificate's folder."""
        del folder
        return PLAIN

    def demand(self, model: Model) -> None:
        """FalseClaimError unless it is the model that was certified."""
        if model.sha256 != self.model_sha256:
            raise FalseClaimError(f"{self.subject}: {self.model} is not the model that was certified")

    @classmethod
    def found(cls, text: str, path: str | Path) -> Self:
        """With the model beside the file at hand."""
        found = super().found(text, path)
        found._folder = Path(path).parent
        return found
