"""Certificates: a schedule with the proof that no schedule of its space does better, as one JSON file.

:func:`certify` runs the three models and demands that they agree, or, where that is asked for, the closed form alone;
:func:`verify` trusts nothing in a certificate and derives every claim again, without the solver.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import PrivateAttr

from memaopt.access import Access
from memaopt.arguments import public
from memaopt.certificates import envelope
from memaopt.certificates.envelope import Envelope, Verified
from memaopt.errors import DisagreementError, InputError, MemaoptError
from memaopt.inputs import Input
from memaopt.kernels.schedule import AnySchedule, Buffering, Code, LayerSchedule, Objective, Space, space, variants
from memaopt.machines.mcu import Mcu
from memaopt.models import closed_form, exhaustive, layer_kernels
from memaopt.models.accesses import promise
from memaopt.models.agreement import MODELS, Answers, cheapest, solve_and_agree, solve_each
from memaopt.models.bounds import LowerBounds, gap, lower_bounds
from memaopt.models.cycles import kernel_cycles
from memaopt.models.layer_kernels import price_of, why_infeasible
from memaopt.models.prices import predicted_cycles
from memaopt.models.replay import simulate
from memaopt.models.traffic import external_bytes, register_bytes, schedule_counts
from memaopt.models.walks import walk_of
from memaopt.problems.gemm import OPERANDS, Gemm, Operand, placed
from memaopt.problems.words import PROOFS, ProofOf

PREMISES = ("problem", "machine", "objective", "buffering", "proof")
"""Fields that say of what a certificate speaks: with others it is another certificate, true or false as it stands."""


#: What is to say of an optimum that one model alone has found.
ALONE = "no other model was asked"


class Traffic(Input):
    """What the schedule moves: accesses by buffer, bytes at both levels, and cycles as predicted.

    ``external_bytes`` cross between external memory and SRAM, ``register_bytes`` between SRAM and registers, what the
    kernels do to the stack among them;
    ``kernel_cycles`` are those of the register kernels at zero wait states, ``cycles`` those of the whole call with the
    machine's wait states in its setting; both are None on a core whose timing nobody has validated.
    """

    buffers: dict[str, Access]
    external_bytes: int
    register_bytes: int
    kernel_cycles: int | None
    cycles: int | None


class ModelAnswer(Input):
    """One model's answer: the objective's parts, and whether it is proven."""

    model: str
    objective: tuple[int, ...]
    proven: bool


class Variant(Input):
    """What the best nest costs with these operands streamed and the code there, or the best of the layer kernels;
    None if none fits.
    """

    streamed: tuple[Operand, ...]
    code: Code
    layers: bool
    objective: tuple[int, ...] | None


class Certificate(Envelope):
    """The optimal schedule of a problem on a machine, and everything claimed about it.

    ``proof`` says which models were asked: all three (``full``), whose answers then ``agreed``, or the closed form
    alone. ``gap`` and ``register_gap`` say how far the traffic lies above the lower bounds on external and register
    bytes, as fractions of them. What is taken as given are the fields of :data:`PREMISES`; the same of them gives the
    same certificate, byte for byte.
    """

    what: ClassVar[str] = "a certificate"

    format: Literal["memaopt-certificate-6"] = "memaopt-certificate-6"
    problem: Gemm
    objective: Objective
    buffering: Buffering
    proof: ProofOf = "full"
    schedule: AnySchedule
    traffic: Traffic
    answers: tuple[ModelAnswer, ...]
    variants: tuple[Variant, ...]
    agreed: bool
    bounds: LowerBounds
    gap: float
    register_gap: float
    _spent: dict[str, float] = PrivateAttr(default_factory=dict)

    @property
    def milliseconds(self) -> dict[str, float]:
        """What each model took, where it was solved in this process: no part of what is certified."""
        return self._spent

    @property
    def space(self) -> Space:
        """The space of schedules that the certificate speaks about."""
        whole = space(self.problem, self.machine, self.objective, self.buffering)
        if isinstance(self.schedule, LayerSchedule):
            return whole.variant((), self.schedule.code, True)
        return whole.variant(self.schedule.streamed, self.schedule.code)

    def headline(self) -> str:
        machine = self.machine
        return f"gemm {self.problem.name} {self.problem.dtype} on {machine.name} in setting {machine.setting.name}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        traffic, bounds = self.traffic, self.bounds
        homes = ", ".join(f"{operand} in {self.problem.placement.of(operand)}" for operand in OPERANDS)
        goal = self.machine.core.goal(self.objective)
        return (
            ("objective", f"{goal}: {self._said()}"),
            ("placement", homes),
            ("schedule", str(self.schedule)),
            ("external bytes", f"{traffic.external_bytes:,}, the bound is {bounds.external_bytes:,}"),
            ("register bytes", f"{traffic.register_bytes:,}, the bound is {bounds.register_bytes:,}"),
            *([] if traffic.cycles is None else [("cycles", f"{traffic.cycles:,} predicted")]),
            ("certificate", self.sha256[:16]),
        )

    def page(self) -> str:
        from memaopt.api import html_report

        return html_report(self)

    def _said(self) -> str:
        """Which models speak for the schedule."""
        if self.proof == "full":
            return f"{', '.join(answer.model for answer in self.answers)} agree on the schedule"
        return f"the schedule of the {self.proof}, {ALONE}"

    @property
    def subject(self) -> str:
        """The problem and the machine."""
        return f"gemm {self.problem.name} on {self.machine.name}"


@public
def certify(
    problem: Gemm, machine: Mcu, objective: str = "bytes", buffering: str = "single", proof: str = "full"
) -> Certificate:
    """The certified optimal schedule of ``problem`` on ``machine``.

    ``objective``: ``bytes`` (external first, then register bytes), ``cycles`` or ``energy``; ``buffering``:
    ``single`` or ``double``; ``proof``: ``full``, or ``closed form``, which asks no other model, takes milliseconds and
    says so. Raises InfeasibleError if no schedule fits, DisagreementError if the models differ, UnfinishedError if one
    of them could not prove its answer.
    """
    kind = next((each for each in PROOFS if each == proof), None)
    if kind is None:
        raise InputError(f"no proof {proof!r}: choose one of {', '.join(PROOFS)}")
    spaces = variants(space(problem, machine, objective, buffering))
    solved = solve_and_agree(spaces) if kind == "full" else {"closed_form": solve_each(spaces, closed_form.solve)}
    chosen, best = cheapest(spaces, solved["closed_form"])
    where, schedule = spaces[chosen], best.schedule
    made = _certificate(where, schedule, spaces, solved["closed_form"], kind)
    nest = None if kind != "full" or isinstance(schedule, LayerSchedule) else schedule
    replayed = None if nest is None else simulate(where, nest)
    if replayed is not None and replayed.accesses != made.traffic.buffers:
        raise DisagreementError(f"gemm {problem.name}: replaying {schedule} makes other accesses than promised")
    if replayed is not None and replayed.register_bytes != made.traffic.register_bytes:
        raise DisagreementError(f"gemm {problem.name}: replaying {schedule} moves other bytes than it is priced at")
    for model, answers in solved.items():
        made.milliseconds[model] = sum(answer.milliseconds for answer in answers if answer)
    return made


@public
def verify(certificate: Certificate | str | Path) -> Verified:
    """Derive every claim of a certificate, or of the file at a path, again; FalseClaimError names the first false one.

    The placement and the fit of the tiles are checked, the traffic is recomputed by formula and by replay, the
    bounds and gaps recomputed, optimality proven again by enumeration, without the solver, and the whole certificate
    made again and compared. Where the closed form alone speaks for it, it is asked again, and optimality is named as
    unproven. Raises InputError if the file is no certificate. What comes back says what was given.
    """
    cert = certificate if isinstance(certificate, Certificate) else Certificate.read(certificate)
    cert.refuse_false(_false_claims(cert))
    alone = f"that no schedule of its space is better (by the {cert.proof}, {ALONE})"
    unproven = () if cert.proof == "full" else (alone,)
    return Verified(subject=cert.subject, premises=premises(cert), unproven=unproven)


def premises(cert: Certificate) -> tuple[str, ...]:
    """What a certificate takes as given, a line each."""
    problem = cert.problem
    homes = ", ".join(f"{operand} in {problem.placement.of(operand)}" for operand in OPERANDS)
    return (
        f"problem gemm {problem.name} {problem.dtype}: {homes}",
        envelope.machine_premise(cert.machine),
        f"objective {cert.objective}, {cert.buffering} buffering, proof {cert.proof}",
        *((f"arithmetic: {problem.arithmetic}",) if problem.channel_bytes else ()),
    )


def _certificate(
    where: Space, schedule: AnySchedule, spaces: list[Space], answers: Answers, proof: ProofOf
) -> Certificate:
    """The certificate of a schedule that is the best of all spaces; ``answers`` are the least cost of each."""
    traffic, bounds, cost = traffic_of(where, schedule), lower_bounds(where), price_of(where, schedule)
    return Certificate(
        problem=where.problem,
        machine=where.machine,
        objective=where.objective,
        buffering=where.buffering,
        proof=proof,
        schedule=schedule,
        traffic=traffic,
        answers=tuple(ModelAnswer(model=model, objective=cost, proven=True) for model in _asked(proof)),
        variants=_variants(spaces, answers),
        agreed=proof == "full",
        bounds=bounds,
        gap=gap(traffic.external_bytes, bounds.external_bytes),
        register_gap=gap(traffic.register_bytes, bounds.register_bytes),
    ).signed()


def _asked(proof: ProofOf) -> tuple[str, ...]:
    """The models that a proof consists of."""
    return tuple(MODELS) if proof == "full" else ("closed_form",)


def _variants(spaces: list[Space], answers: Answers) -> tuple[Variant, ...]:
    return tuple(
        Variant(
            streamed=each.streamed, code=each.code, layers=each.layers, objective=answer.objective if answer else None
        )
        for each, answer in zip(spaces, answers, strict=True)
    )


def traffic_of(where: Space, schedule: AnySchedule) -> Traffic:
    if isinstance(schedule, LayerSchedule):
        made, timed = layer_kernels.offer(where, schedule).plan, where.machine.core.is_timed
        return Traffic(
            buffers=layer_kernels.promise(made),
            external_bytes=layer_kernels.external_bytes(where, made),
            register_bytes=layer_kernels.register_bytes(made),
            kernel_cycles=made.cycles if timed else None,
            cycles=layer_kernels.cycles(where, made) if timed else None,
        )
    family, c = schedule.family, schedule_counts(where, schedule)
    timed = where.machine.core.is_timed
    return Traffic(
        buffers=promise(where, schedule),
        external_bytes=int(external_bytes(where, walk_of(where, schedule), c)),
        register_bytes=int(register_bytes(where, family, (schedule.tile,), c)),
        kernel_cycles=int(kernel_cycles(where, family, schedule.tile, c)) if timed else None,
        cycles=predicted_cycles(where, schedule) if timed else None,
    )


def _false_claims(cert: Certificate) -> Iterator[str]:
    """What does not hold, cheapest check first; each check relies on those before it."""
    yield from _false_premises(cert)
    where = cert.space
    yield from _false_fit(cert, where)
    yield from _false_traffic(cert, where)
    yield from _false_answers(cert, where)
    yield from _false_bounds(cert, where)
    spaces = _spaces(cert)
    proven = solve_each(spaces, exhaustive.solve if cert.proof == "full" else closed_form.solve)
    chosen, best = cheapest(spaces, proven)
    if best.objective != price_of(where, cert.schedule):
        yield f"schedule {cert.schedule}: it costs {price_of(where, cert.schedule)}, and {best.objective} is possible"
    if (claims := _variants(spaces, proven)) != cert.variants:
        yield f"variants: their least costs are {[claim.objective for claim in claims]}"
    if spaces[chosen] != where:
        yield f"schedule {cert.schedule}: with as little cost it is {best.schedule}"
    analytical = closed_form.solve(where).schedule
    if analytical != cert.schedule:
        yield f"schedule {cert.schedule}: the closed form gives {analytical}"
    derived = _certificate(where, cert.schedule, spaces, proven, cert.proof)
    yield from envelope.differences(cert.model_dump(mode="json"), derived.model_dump(mode="json"))


def _false_premises(cert: Certificate) -> Iterator[str]:
    try:
        decided = placed(cert.problem, cert.machine)
    except MemaoptError as error:
        yield f"problem: {error}"
        return
    if decided != cert.problem:
        yield f"problem: its placement is left open ({cert.problem.placement})"


def _spaces(cert: Certificate) -> list[Space]:
    """The spaces that the certificate's schedule was chosen from."""
    return variants(space(cert.problem, cert.machine, cert.objective, cert.buffering))


def _false_fit(cert: Certificate, where: Space) -> Iterator[str]:
    if where not in _spaces(cert):
        yield f"schedule {cert.schedule}: what is streamed, or where the code runs from, is not among the choices"
        return
    try:
        why = why_infeasible(where, cert.schedule)
    except InputError as error:
        why = str(error)
    if why is not None:
        yield f"schedule {cert.schedule}: {why}"
        return
    if isinstance(cert.schedule, LayerSchedule):
        return
    needed = simulate(where, cert.schedule).tile_bytes
    if needed > where.capacity:
        yield f"schedule {cert.schedule}: its tiles take {needed:,} bytes of SRAM, and {where.capacity:,} are left"


def _false_traffic(cert: Certificate, where: Space) -> Iterator[str]:
    claimed, formula = cert.traffic, traffic_of(where, cert.schedule)
    # What a layer kernel does no model replays: the board counts it.
    nest = None if isinstance(cert.schedule, LayerSchedule) else cert.schedule
    made = None if nest is None else simulate(where, nest)
    replayed = formula.buffers if made is None else made.accesses
    for how, buffers in (("the formula gives", formula.buffers), ("replaying makes", replayed)):
        for name in sorted(claimed.buffers.keys() | buffers.keys()):
            claim, truth = claimed.buffers.get(name), buffers.get(name)
            if claim != truth:
                yield f"traffic of {name}: {_told(claim)} claimed, but {how} {_told(truth)}"
    for field in ("external_bytes", "register_bytes", "kernel_cycles", "cycles"):
        claim, truth = getattr(claimed, field), getattr(formula, field)
        if claim != truth:
            yield f"traffic: {field} is {_figure(truth)}, not {_figure(claim)}"
    crossing = sum(moved.bytes for name, moved in replayed.items() if name[0] in where.staged)
    if made is not None and crossing != claimed.external_bytes:
        yield f"traffic: replaying moves {crossing:,} external bytes, not {claimed.external_bytes:,}"
    if made is not None and made.register_bytes != claimed.register_bytes:
        yield f"traffic: replaying, kernels move {made.register_bytes:,} bytes, not {claimed.register_bytes:,}"


def _figure(number: int | None) -> str:
    return "not known" if number is None else f"{number:,}"


def _told(accesses: Access | None) -> str:
    if accesses is None:
        return "no access"
    loads = f"{accesses.loads:,} loads of {accesses.load_bytes:,} bytes"
    return f"{loads} and {accesses.stores:,} stores of {accesses.store_bytes:,} bytes"


def _false_answers(cert: Certificate, where: Space) -> Iterator[str]:
    models, asked = tuple(answer.model for answer in cert.answers), _asked(cert.proof)
    if models != asked:
        yield f"answers: they are of {', '.join(models) or 'no model'}, not of {', '.join(asked)}"
    cost = price_of(where, cert.schedule)
    for answer in cert.answers:
        if answer.objective != cost:
            yield f"answer of {answer.model}: the schedule costs {cost}, not {answer.objective}"
        if not answer.proven:
            yield f"answer of {answer.model}: it is not proven"
    if cert.agreed != (cert.proof == "full"):
        truth = "answers are equal, and it says they are not" if cert.proof == "full" else "one model alone was asked"
        yield f"agreed: {truth}"


def _false_bounds(cert: Certificate, where: Space) -> Iterator[str]:
    bounds, traffic = lower_bounds(where), cert.traffic
    for field in type(bounds).model_fields:
        claim, truth = getattr(cert.bounds, field), getattr(bounds, field)
        if claim != truth:
            yield f"bounds: {field} is {truth:,}, not {claim:,}"
    for name, moved, bound, claimed in (
        ("gap", traffic.external_bytes, bounds.external_bytes, cert.gap),
        ("register_gap", traffic.register_bytes, bounds.register_bytes, cert.register_gap),
    ):
        if moved < bound:
            yield f"bounds: {moved:,} bytes are fewer than the bound of {bound:,}"
        if claimed != gap(moved, bound):
            yield f"{name}: it is {gap(moved, bound)!r}, not {claimed!r}"
