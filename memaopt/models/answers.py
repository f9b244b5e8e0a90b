"""What each optimisation model returns."""

from pydantic import BaseModel

from memaopt.kernels.schedule import AnySchedule


class Answer(BaseModel, frozen=True, extra="forbid"):
    """One model's optimum: a schedule that reaches it, the objective's parts, and how long it took."""

    model: str
    schedule: AnySchedule
    objective: tuple[int, ...]
    proven: bool
    milliseconds: float
