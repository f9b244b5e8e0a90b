"""The constants of an s8 product: A and the parameters of its output channels, known when the C is written."""

import array
import base64
import binascii
import hashlib
import operator
from typing import Annotated, Any, Self

import pydantic

from memaopt.inputs import Input

Int32 = Annotated[int, pydantic.Field(strict=True, ge=-(1 << 31), lt=1 << 31)]
Seed = Annotated[int, pydantic.Field(strict=True, ge=0, lt=1 << 32)]
_CHANNEL_FIELDS = ("bias", "multiplier", "shift")


class Weights(Input):
    """A and, for each output channel, TFLite's bias, multiplier and shift: result = acc * multiplier * 2^(shift - 31).

    ``a`` has the bytes of A [M][K], int8, in base64; rows of integers will do. Without it all of them are random,
    seeded by ``seed``: what a problem that is nothing but sizes is tried with.
    """

    seed: Seed = 0
    a: str = ""
    bias: tuple[Int32, ...] = ()
    multiplier: tuple[Annotated[int, pydantic.Field(strict=True, ge=0, lt=1 << 31)], ...] = ()
    shift: tuple[Annotated[int, pydantic.Field(strict=True, ge=-31, le=31)], ...] = ()

    @pydantic.field_validator("a", mode="before")
    @classmethod
    def _packed(cls, given: Any) -> Any:
        """Rows of integers, which are easier to write, as base64."""
        if not isinstance(given, list):
            return given
        try:
            packed = array.array("b", [operator.index(v) for row in given for v in row]).tobytes()
        except (TypeError, OverflowError):
            raise ValueError("neither base64 nor rows of int8") from None
        return base64.b64encode(packed).decode()

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        try:
            base64.b64decode(self.a, validate=True)
        except binascii.Error as error:
            raise ValueError(f"a is not base64: {error}") from None
        return self

    @classmethod
    def of(cls, a: Any, bias: Any, multiplier: Any, shift: Any) -> Self:
        """Weights from arrays: ``a`` [M, K] of int8, the others [M] of integers."""
        channels = zip(_CHANNEL_FIELDS, (bias, multiplier, shift), strict=True)
        return cls(a=[list(row) for row in a], **{name: [int(v) for v in given] for name, given in channels})

    @property
    def given(self) -> bool:
        """Whether they are somebody's own."""
        return bool(self.a)

    def describe(self) -> str:
        """Which they are: their seed, or the first digits of a digest of theirs."""
        if not self.given:
            return f"random weights of seed {self.seed}"
        return f"weights sha256 {hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]}"

    def why_not(self, m: int, k: int) -> str | None:
        """Why these are not the constants of a product with A [m, k], None if they are."""
        if not self.given:
            return (
                f"{', '.join(_CHANNEL_FIELDS)} are given without a"
                if self.bias + self.multiplier + self.shift
                else None
            )
        if self.seed:
            return "seed has no effect beside a"
        if (found := len(base64.b64decode(self.a))) != m * k:
            return f"a has {found:,} bytes, not M x K = {m * k:,}"
        return next(
            (
                f"{name} has {len(getattr(self, name)):,} entries, not M = {m:,}"
                for name in _CHANNEL_FIELDS
                if len(getattr(self, name)) != m
            ),
            None,
        )
