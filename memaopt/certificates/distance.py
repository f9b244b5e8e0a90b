"""How far a figure lies above the optimum's, and above what nothing can beat."""

from __future__ import annotations

from memaopt.inputs import Input


class Distance(Input):
    """How far a figure lies above the optimum's, and above what nothing can beat (None: no bound is known), as
    fractions of them; None where that figure is 0 and this one is not.
    """

    optimum: float | None
    bound: float | None = None

    @classmethod
    def of(cls, figure: int, optimum: int, bound: int | None = None) -> Distance:
        """That of a figure from others."""
        return cls(optimum=_fraction(figure, optimum), bound=None if bound is None else _fraction(figure, bound))

    def told(self) -> str:
        """In words that follow a figure: ``, 12.0% above the optimum's, equal to the lower bound``."""
        parts = ((self.optimum, "the optimum's"), (self.bound, "the lower bound"))
        told = [
            f"equal to {what}" if part == 0 else f"{abs(part):.1%} {'above' if part > 0 else 'below'} {what}"
            for part, what in parts
            if part is not None
        ]
        return f", {', '.join(told)}" if told else ""


def _fraction(figure: int, of: int) -> float | None:
    """How far ``figure`` lies above another, as a fraction of it."""
    return 0.0 if figure == of else None if of == 0 else (figure - of) / of
