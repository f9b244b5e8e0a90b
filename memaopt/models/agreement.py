"""The three models side by side: each solves every space there is to choose among, and all must agree on each."""

from collections.abc import Callable, Sequence

from memaopt.errors import DisagreementError, InfeasibleError, UnfinishedError
from memaopt.kernels.schedule import Space
from memaopt.models import closed_form, exhaustive
from memaopt.models.answers import Answer
from memaopt.models.feasibility import beyond_sram, least_tiles
from memaopt.models.layer_kernels import least, price_of, why_infeasible


def _cp_sat(where: Space, known: Answer | None = None) -> Answer:
    """The solver's answer. It is loaded here: who only verifies does without."""
    from memaopt.models import cp_sat

    return cp_sat.solve(where, known)


MODELS: dict[str, Callable[..., Answer]] = {
    "closed_form": closed_form.solve,
    "cp_sat": _cp_sat,
    "exhaustive": exhaustive.solve,
}

#: A model's best answer in each space to choose among, None where nothing fits.
Answers = list[Answer | None]


def solve_and_agree(spaces: list[Space]) -> dict[str, Answers]:
    """Each model's answers; CP-SAT is told the closed form's, to reach and to refute anything better.

    Raises DisagreementError unless they agree, UnfinishedError if CP-SAT does not come to an end.
    """
    solved = {model: solve_each(spaces, MODELS[model]) for model in ("closed_form", "exhaustive")}
    told = zip(spaces, solved["closed_form"], strict=True)
    solved["cp_sat"] = [answer_in(where, MODELS["cp_sat"], known) for where, known in told]
    solved = {model: solved[model] for model in MODELS}
    for i, each in enumerate(spaces):
        _demand_agreement(each, {model: answers[i] for model, answers in solved.items()})
    return solved


def solve_each(spaces: Sequence[Space], solve: Callable[[Space], Answer]) -> Answers:
    """A model's best answer in each space, None where nothing fits."""
    return [answer_in(where, solve) for where in spaces]


def answer_in(where: Space, solve: Callable[..., Answer], *more: object) -> Answer | None:
    """A model's best answer in a space, None where nothing fits; ``more`` is what the model is told besides."""
    try:
        return solve(where, *more)
    except InfeasibleError:
        return None


def _demand_agreement(where: Space, answers: dict[str, Answer | None]) -> None:
    """Raise DisagreementError unless all answers are equal, and what their schedules really cost; UnfinishedError if
    they are, but one is not proven."""
    name = f"gemm {where.problem.name} on {where.machine.name}"
    for model, answer in answers.items():
        why = answer and why_infeasible(where, answer.schedule)
        if answer and why is None and price_of(where, answer.schedule) != answer.objective:
            why = f"it costs {price_of(where, answer.schedule)}"
        if answer and why is not None:
            raise DisagreementError(f"{name}: {model} answers {answer.objective} with {answer.schedule}, but {why}")
    unproven = [model for model, answer in answers.items() if answer and not answer.proven]
    # An answer that is not proven may be worse than the optimum without contradicting it.
    sure = {model: answer for model, answer in answers.items() if model not in unproven}
    best = min((answer.objective for answer in sure.values() if answer), default=None)
    below = [model for model in unproven if (answer := answers[model]) and (best is None or answer.objective < best)]
    if below or len({answer and answer.objective for answer in sure.values()}) > 1:
        each = "; ".join(
            f"{model} {answer.objective}{'' if answer.proven else ' (not proven)'} with {answer.schedule}"
            if answer
            else f"{model}: nothing fits"
            for model, answer in answers.items()
        )
        raise DisagreementError(f"{name}: no certificate, the models differ: {each}")
    if unproven:
        raise UnfinishedError(
            f"{name}: no certificate: {', '.join(unproven)} did not finish within its limit; "
            f"{' and '.join(sure)} agree on {best}"
        )


def cheapest(spaces: Sequence[Space], answers: Answers) -> tuple[int, Answer]:
    """The best of a model's answers, the first of equals, with its place; InfeasibleError if nothing fits."""
    found = [(i, answer) for i, answer in enumerate(answers) if answer]
    if not found:
        raise _nothing_fits(spaces)
    return min(found, key=lambda entry: entry[1].objective)


def _nothing_fits(spaces: Sequence[Space]) -> InfeasibleError:
    """What would do, where no schedule of any space fits: the least SRAM of all."""
    searched = [each for each in spaces if each.layers or each.kernels]
    needs = [(least(each) if each.layers else least_tiles(each), each) for each in searched]
    known = [(need - each.capacity, need, each) for need, each in needs if need is not None]
    if not known:
        closed_form.solve(spaces[0])  # no kernel at all: it raises, saying why
    _, need, where = min(known, key=lambda entry: entry[0])
    return beyond_sram(where, need)
