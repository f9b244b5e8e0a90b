"""What each optimisation model returns."""

from pydantic import BaseModel, ConfigDict

from memaopt.kernels.schedule import AnySchedule


class Answer(BaseModel):
    """One model's optimum: a schedule that reaches it, the objective's parts, and how long it took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    schedule: AnySchedule
    objective: tuple[int, ...]
    proven: bool
    milliseconds: float
