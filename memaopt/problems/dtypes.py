"""Element types of products as data: how elements are stored, summed and rounded. Everything else asks this table."""

from dataclasses import dataclass

#: One of ELEMENT_TYPES.
Dtype = str


@dataclass(frozen=True)
class ElementType:
    """A dtype: ``bytes`` of an element, its types in C and in numpy, and the C type of 32-bit partial sums.

    ``channel_bytes``: parameters of each output channel (bias, multiplier, left and right shift, an int32 each), or 0.
    ``channels_minor``: B is stored as [N,K] and C as [N,M], channels beside each other; else B is [K,N] and C is [M,N].
    ``exact``: results are the reference's bit for bit; else they may be off by what another order of sums leaves.
    ``arithmetic`` is a sentence for the emitted C.
    """

    bytes: int
    c: str
    numpy: str
    sums: str
    arithmetic: str
    channel_bytes: int = 0
    channels_minor: bool = False
    exact: bool = True


ELEMENT_TYPES: dict[Dtype, ElementType] = {
    "f32": ElementType(
        bytes=4,
        c="float",
        numpy="float32",
        sums="float",
        arithmetic="c = a b in single precision; each product and each sum is rounded.",
        exact=False,
    ),
    "q15": ElementType(
        bytes=2,
        c="int16_t",
        numpy="int16",
        sums="int32_t",
        arithmetic="c = saturate16((a b + 2^14) >> 15), the sum modulo 2^32: round to nearest, ties up.",
    ),
    "s8": ElementType(
        bytes=1,
        c="int8_t",
        numpy="int8",
        sums="int32_t",
        arithmetic="TFLite's int8 1x1 CONV_2D, to the last bit: int32 sums, double rounding, zero points and clamp.",
        channel_bytes=16,
        channels_minor=True,
    ),
}
DTYPES = tuple(ELEMENT_TYPES)
