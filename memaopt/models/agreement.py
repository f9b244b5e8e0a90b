"""The three models side by side: each solves every space there is to choose among, and all must agree on each."""

from collections.abc import Callable

from memaopt.errors import DisagreementError, InfeasibleError
from memaopt.models import closed_form, exhaustive
from memaopt.models.answers import Answer
from memaopt.models.traffic import price_of, why_infeasible
from memaopt.schedules import Space


def _cp_sat(space: Space) -> Answer:
    """The solver's answer. It is loaded when it is first asked, so that whoever verifies never loads it."""
    from memaopt.models import cp_sat

    return cp_sat.solve(space)


MODELS: dict[str, Callable[[Space], Answer]] = {
    "closed_form": closed_form.solve,
    "cp_sat": _cp_sat,
    "exhaustive": exhaustive.solve,
}

#: A model's best answer in each space to choose among, None where nothing fits.
Answers = list[Answer | None]


def solve_and_agree(spaces: list[Space]) -> dict[str, Answers]:
    """Each model's answers. Raises DisagreementError unless they agree, InfeasibleError if nothing fits."""
    solved = {model: solve_each(spaces, solve) for model, solve in MODELS.items()}
    for i, each in enumerate(spaces):
        _demand_agreement(each, {model: answers[i] for model, answers in solved.items()})
    if not any(solved["closed_form"]):
        closed_form.solve(spaces[0])  # raises InfeasibleError, which says what would do
    return solved


def solve_each(spaces: list[Space], solve: Callable[[Space], Answer]) -> Answers:
    """A model's best answer in each space, None where nothing fits."""

    def answer(where: Space) -> Answer | None:
        try:
            return solve(where)
        except InfeasibleError:
            return None

    return [answer(each) for each in spaces]


def _demand_agreement(where: Space, answers: dict[str, Answer | None]) -> None:
    """Raise DisagreementError unless all answers are proven, equal, and what their schedules really cost."""
    name = f"gemm {where.problem.name} on {where.machine.name}"
    for model, answer in answers.items():
        why = answer and why_infeasible(where, answer.schedule)
        if answer and why is None and price_of(where, answer.schedule) != answer.objective:
            why = f"it costs {price_of(where, answer.schedule)}"
        if answer and why is not None:
            raise DisagreementError(f"{name}: {model} answers {answer.objective} with {answer.schedule}, but {why}")
    objectives = {answer and answer.objective for answer in answers.values()}
    if len(objectives) > 1 or not all(answer.proven for answer in answers.values() if answer):
        each = "; ".join(
            f"{model} {answer.objective}{'' if answer.proven else ' (not proven)'} with {answer.schedule}"
            if answer
            else f"{model}: nothing fits"
            for model, answer in answers.items()
        )
        raise DisagreementError(f"{name}: no certificate, the models differ: {each}")


def cheapest(answers: Answers) -> tuple[int, Answer]:
    """The best of a model's answers, the first of equals, with its place."""
    found = [(i, answer) for i, answer in enumerate(answers) if answer]
    return min(found, key=lambda entry: entry[1].objective)
