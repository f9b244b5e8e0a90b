"""The verbs: ``certify``, ``emit``, ``verify`` and ``run`` take a product, a layer, a network or a file alike.

What a problem is decides what is done with it; what comes back is its certificate or its trial. ``emit``, ``verify``
and ``run`` take a certificate as well, or certify what they are given first. Everything is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from memaopt.arguments import public
from memaopt.errors import InputError

if TYPE_CHECKING:
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.certificates.envelope import Envelope, Verified
    from memaopt.certificates.evaluation import Evaluation
    from memaopt.certificates.gemm import Certificate
    from memaopt.certificates.given import Asked, Given
    from memaopt.certificates.network import NetworkCertificate
    from memaopt.certificates.network_evaluation import NetworkEvaluation
    from memaopt.certificates.staging import StagingCertificate
    from memaopt.choice.given import GivenPlan
    from memaopt.kernels.mapping import Mapping
    from memaopt.kernels.schedule import LayerSchedule, Schedule
    from memaopt.kernels.tiling import Tiling
    from memaopt.machines.mcu import Mcu
    from memaopt.networks.formats.model import Model
    from memaopt.networks.graph import Graph
    from memaopt.networks.layers import Conv2D, DepthwiseConv2D, FullyConnected
    from memaopt.problems.gemm import Gemm
    from memaopt.trials.bundle import BundleTrial
    from memaopt.trials.gemm import GemmTrial
    from memaopt.trials.network import NetworkTrial


@public
def certify(
    problem: Asked,
    machine: Mcu | None = None,
    objective: str | None = None,
    buffering: str | None = None,
    *,
    proof: str | None = None,
    name: str | None = None,
    names: Sequence[str] | None = None,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    within: float | None = None,
    stream: str | None = None,
    hop: int | None = None,
    fill: str | None = None,
    place: str | None = None,
    by_rows: bool = False,
    custom: Sequence[str] = (),
    subgraph: str | None = None,
) -> Certificate | NetworkCertificate | BundleCertificate:
    """The best schedule of a product, or the best kernels of a layer or network, with the proof.

    ``problem``: a :class:`Gemm`; a :class:`Conv2D`, :class:`DepthwiseConv2D` or :class:`FullyConnected`; a graph; the
    path of a ``.tflite`` or ``.onnx`` file; or a list of two or more graphs and paths, which become one library with
    one arena, called by their ``names``. ``machine``: by default the command line's, an STM32L4R5. ``objective``:
    ``bytes`` (the default of a Gemm), ``cycles`` (of all others), ``energy`` or, of a network, ``ram``: the least
    arena, and the fewest cycles in that. A Gemm's are ``buffering``, ``single`` or ``double``, and ``proof``: ``full``,
    or ``closed form``, which takes milliseconds, asks no other model, and says so. A network takes a ``name`` and
    budgets in bytes: ``sram``, ``flash``, ``arena``; of an arena that is not bounded the least is taken whose price is
    at most ``within`` (0.004: 0.4 %) above the best.
    ``stream``: the input is a window that slides along its ``rows`` or ``columns`` (``auto``: the axis that is not 1)
    by ``hop`` frames a push, by default the least multiple of all strides along it; before it is full it holds
    ``fill``, ``zero`` or the ``first`` frame; of several networks ``wake=rows`` says which slides. ``place``: the
    memories of its buffers, as in ``weights=qspi`` or ``weights=auto``. ``by_rows``: the input, an image, is consumed
    as its rows arrive. ``custom``: operators of a ``.tflite`` file's own that C of the caller's computes, as
    ``Rasp=rasp.h,rasp.c``; ``subgraph``: the one of its subgraphs that is the network, by name, signature or number.
    Raises InputError for what cannot be read or has no effect, InfeasibleError if nothing fits, DisagreementError if
    models differ.
    """
    from memaopt.machines.mcu import mcu
    from memaopt.problems.gemm import Gemm
    from memaopt.problems.words import MCU

    machine = machine or mcu(MCU)
    if isinstance(problem, list):
        _without_effect("certify", "several networks", name=name, buffering=buffering, proof=proof)
        _without_effect("certify", "several networks", by_rows=by_rows or None, custom=custom or None)
        _without_effect("certify", "several networks", subgraph=subgraph)
        budgets = {"sram": sram, "flash": flash, "arena": arena}
        windows = stream, hop, fill
        return _together(problem, machine, objective, names, windows, within=within, place=place, **budgets)
    _without_effect("certify", "one problem", names=names)
    if isinstance(problem, Gemm):
        from memaopt.certificates import gemm

        others = {"name": name, "sram": sram, "flash": flash, "arena": arena, "within": within}
        _without_effect("certify", "a Gemm; resize a memory with machine.with_sizes", **others)
        _without_effect("certify", "a Gemm: its placement is part of it", place=place)
        _without_effect("certify", "a Gemm, which has no window", stream=stream, hop=hop, fill=fill)
        _without_effect("certify", "a Gemm, whose operands are whole", by_rows=by_rows or None, custom=custom or None)
        _without_effect("certify", "a Gemm, which is in no file", subgraph=subgraph)
        return gemm.certify(problem, machine, objective or "bytes", buffering or "single", proof or "full")
    _without_effect("certify", "a network: its layers copy nothing block by block", buffering=buffering)
    _without_effect("certify", "a network: its choice says itself how it was proven", proof=proof)
    from memaopt.certificates import network as certificates
    from memaopt.choice.compile import compile_network
    from memaopt.choice.knee import WITHIN
    from memaopt.choice.least import compile_smallest
    from memaopt.choice.placement import NetworkPlacement
    from memaopt.networks.streaming.window import Stream

    model = _model(problem, custom, subgraph)
    if arena is not None:
        _without_effect("certify", "a network whose arena is bounded", within=within)
    slack = WITHIN if within is None else within
    if objective == "ram":
        others = {"arena": arena, "within": within, "stream": stream, "hop": hop, "fill": fill, "place": place}
        _without_effect("certify", "objective ram, which finds the least arena of a whole run", **others)
        smallest = compile_smallest(model, machine, name=name, sram=sram, flash=flash, by_rows=by_rows)
        return certificates.certify(smallest)
    if by_rows:
        _without_effect("certify", "an input by rows", stream=stream, within=within)
    slides = Stream.asked(stream, hop, fill)
    plan = compile_network(
        model,
        machine,
        objective or "cycles",
        name=name,
        sram=sram,
        flash=flash,
        arena=arena,
        within=slack,
        stream=slides,
        place=NetworkPlacement.asked(place),
        by_rows=by_rows,
    )
    return certificates.certify(plan)


def _together(
    problems: list[Graph | str | Path],
    machine: Mcu,
    objective: str | None,
    names: Sequence[str] | None,
    stream: tuple[str | None, int | None, str | None],
    *,
    within: float | None,
    place: str | None,
    **budgets: int | None,
) -> BundleCertificate:
    """The certificate of several networks in one library."""
    from memaopt.certificates import bundle
    from memaopt.choice.bundle import compile_bundle
    from memaopt.choice.knee import WITHIN
    from memaopt.choice.placement import NetworkPlacement
    from memaopt.networks.streaming.window import Stream

    if objective == "ram":
        _without_effect("certify", "objective ram, which finds the least arena", arena=budgets["arena"], within=within)
    models, slack = [_model(each) for each in problems], WITHIN if within is None else within
    goal = objective or "cycles"
    streams, placement = Stream.asked_of_several(*stream), NetworkPlacement.asked(place)
    plan = compile_bundle(models, machine, goal, names=names, within=slack, streams=streams, place=placement, **budgets)
    return bundle.certify(plan)


@public
def evaluate(
    problem: Gemm | Conv2D | DepthwiseConv2D | FullyConnected | Graph | str | Path,
    machine: Mcu,
    schedule: Schedule | LayerSchedule | Tiling | Mapping | GivenPlan | dict[str, Any] | str | Path,
    objective: str | None = None,
    *,
    proof: str | None = None,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    place: str | None = None,
    custom: Sequence[str] = (),
) -> Evaluation | NetworkEvaluation:
    """What a schedule of one's own is worth: feasible or why not, traffic, cycles, how far it is from the optimum.

    ``schedule`` of a Gemm: a :class:`Schedule`; a :class:`Tiling`, whose kernel may be left open; a :class:`Mapping`,
    loops with levels; the data of one, or the path of a .json, .toml or .yaml file with one, with a
    certificate, or with Timeloop's or ZigZag's mapping. Of a layer, a network or a ``.tflite`` file: a
    :class:`~memaopt.choice.given.GivenPlan`, its data, or a .json, .toml or .yaml file with one or with a network's
    certificate; what it leaves open is chosen. ``objective``, ``proof``, the budgets and ``place`` are the optimum's,
    and ``custom`` the C of a file's own operators, as in :func:`certify`. Raises InputError for a schedule that cannot
    be read, InfeasibleError if no schedule fits, DisagreementError if this one beats the optimum.
    """
    from memaopt.certificates import evaluation
    from memaopt.problems.gemm import Gemm

    if isinstance(problem, Gemm):
        from memaopt.choice.given import GivenPlan

        _without_effect(
            "evaluate", "a Gemm; resize a memory with machine.with_sizes", sram=sram, flash=flash, arena=arena
        )
        _without_effect("evaluate", "a Gemm", custom=custom or None)
        _without_effect("evaluate", "a Gemm: its placement is part of it", place=place)
        if isinstance(schedule, GivenPlan):
            raise InputError("evaluate: a GivenPlan is of a network; of a Gemm give a Schedule, a Tiling or a Mapping")
        return evaluation.evaluate(problem, machine, schedule, objective or "bytes", proof or "full")
    from memaopt.certificates import network_evaluation
    from memaopt.choice.given import GivenPlan
    from memaopt.choice.placement import NetworkPlacement

    _without_effect("evaluate", "a network: its choice says itself how it was proven", proof=proof)
    placement = NetworkPlacement.asked(place)
    given = schedule
    if isinstance(schedule, str | Path):
        given = GivenPlan.parsed(evaluation.data_of(schedule), str(schedule), placement)
    if not isinstance(given, GivenPlan | dict):
        raise InputError(f"evaluate: a {type(given).__name__} is of a Gemm; of a network give its layers' kernels")
    goal = objective or "cycles"
    model = _model(problem, custom)
    budgets = {"sram": sram, "flash": flash, "arena": arena}
    return network_evaluation.evaluate(model, machine, given, goal, place=placement, **budgets)


def _without_effect(verb: str, on: str, **options: object) -> None:
    """InputError for the first option that is given."""
    for option, value in options.items():
        if value is not None:
            raise InputError(f"{verb}: {option} has no effect on {on}")


def _model(
    problem: Conv2D | DepthwiseConv2D | FullyConnected | Graph | str | Path,
    custom: Sequence[str] = (),
    subgraph: str | None = None,
) -> Model:
    """The model of a layer, a graph, or the file at a path, some of whose operators the caller's C computes."""
    from memaopt.networks.custom_files import read_customs
    from memaopt.networks.formats.model import Model
    from memaopt.networks.graph import Graph
    from memaopt.networks.reading import Wanted

    if isinstance(problem, str | Path):
        return Model.read(problem, Wanted(read_customs(custom), subgraph or ""))
    _without_effect("certify", "a network that is not in a file", custom=custom or None, subgraph=subgraph)
    return Model.of(problem if isinstance(problem, Graph) else problem.graph())


def _refuse_unwritable(what: Any) -> None:
    """InputError for a product whose C cannot be written, before anything is proven about it."""
    from memaopt.emit.gemm import refuse_unwritable
    from memaopt.problems.gemm import Gemm

    if isinstance(what, Gemm):
        refuse_unwritable(what)


def _certified(verb: str, what: Any, machine: Mcu | None, options: dict[str, Any]) -> Envelope:
    """The certificate that a verb was given, as it is or by the path of its file or folder, or that of the problem that
    it was given; options are for a problem alone."""
    from memaopt.certificates import given
    from memaopt.certificates.envelope import Envelope
    from memaopt.networks.formats.model import names_model

    path = what if isinstance(what, str | Path) else None
    if names_model(path) if path is not None else not isinstance(what, Envelope):
        return certify(what, machine, **options)
    _without_effect(verb, "a certificate, which has its own", machine=machine, **options)
    return cast("Envelope", what) if path is None else given.read(path, staging=verb == "verify")


@public
def emit(what: Given, folder: str | Path, machine: Mcu | None = None, **options: Any) -> Path:
    """Write the C project of a certificate into ``folder`` and return the path of its main C file.

    ``what``: a certificate, or the path of its file or its project's folder; or a problem, which is certified on
    ``machine`` with the ``options`` of :func:`certify` first. The project's output is compared with the reference,
    where this computer has a compiler, and a network's without one. Same certificate, same bytes. Files appear whole or
    not at all. Raises InputError if the folder cannot be written or a network's model is not at hand, WrongLibraryError
    if an output differs, and what :func:`certify` raises.
    """
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.certificates.gemm import Certificate
    from memaopt.emit.folder import PAGE, source
    from memaopt.report import bundle, gemm_page
    from memaopt.report.page import page
    from memaopt.trials import library
    from memaopt.writer import write_files

    _refuse_unwritable(what)
    certificate = _certified("emit", what, machine, options)
    if isinstance(certificate, Certificate):
        from memaopt.emit import gemm

        files: dict[str, str | bytes] = {**gemm.files(certificate), PAGE: gemm_page.page(certificate)}
        library.check_gemm(certificate, files)
        name = gemm.name_of(certificate)
    elif isinstance(certificate, BundleCertificate):
        files = {**library.files_of_bundle(certificate), PAGE: bundle.page(certificate)}
        library.check_bundle(certificate.plan, files)
        name = certificate.name
    else:
        certificate = cast("NetworkCertificate", certificate)
        files = {**library.files_of(certificate), PAGE: page(certificate.plan, certificate)}
        library.check(certificate.plan, files)
        name = certificate.name
    return write_files(files, folder) / source(name)


@public
def html_report(what: Any) -> str:
    """The report of a certificate, or of a network's plan: one page of HTML, as ``--report`` writes it.

    Raises InputError for anything else, or if a network's model is not at hand.
    """
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.certificates.gemm import Certificate
    from memaopt.certificates.network import NetworkCertificate
    from memaopt.choice.network_plan import NetworkPlan
    from memaopt.report import bundle, gemm_page
    from memaopt.report.page import page

    if isinstance(what, Certificate):
        return gemm_page.page(what)
    if isinstance(what, BundleCertificate):
        return bundle.page(what)
    if isinstance(what, NetworkCertificate):
        return page(what.plan, what)
    if not isinstance(what, NetworkPlan):
        raise InputError(f"html_report: a certificate or a plan is expected, not {type(what).__name__}")
    return page(what)


@public
def verify(what: Given | StagingCertificate, machine: Mcu | None = None, **options: Any) -> Verified:
    """Derive every claim of a certificate again; FalseClaimError names the first false one.

    ``what``: a certificate, or the path of its file or its project's folder; or a problem, which is certified on
    ``machine`` with the ``options`` of :func:`certify` first. A network's file is checked against the model beside it.
    No solver is asked to verify. Raises InputError if the file is no certificate and no model, and what :func:`certify`
    raises. What comes back says what was given.
    """
    from memaopt.certificates import bundle, gemm, network_check, staging

    certificate = _certified("verify", what, machine, options)
    if isinstance(certificate, bundle.BundleCertificate):
        return bundle.verify(certificate)
    if isinstance(certificate, staging.StagingCertificate):
        return staging.verify(certificate)
    if isinstance(certificate, gemm.Certificate):
        return gemm.verify(certificate)
    return network_check.verify(cast("NetworkCertificate", certificate))


@public
def read(path: str | Path) -> Certificate | NetworkCertificate | BundleCertificate:
    """The certificate in a file, or in the folder of a project, unverified; InputError if there is none.

    A network's model is found beside it.
    """
    from memaopt.certificates import given

    return cast("Certificate | NetworkCertificate | BundleCertificate", given.read(path))


@public
def run(
    what: Given,
    machine: Mcu | None = None,
    *,
    inputs: int = 1,
    compiler: str | None = None,
    **options: Any,
) -> GemmTrial | NetworkTrial | BundleTrial:
    """Build the C of a certificate, or what lies in a project's folder, and run it on the virtual board.

    ``what``: a certificate, or the path of its file; the path of a project's folder, whose C is built as it lies there;
    or a problem, which is certified on ``machine`` with the ``options`` of :func:`certify` first. ``inputs``: how many
    a network is tried on. ``compiler``: ``gcc`` or ``zig``. Raises MissingToolError, BuildError or FaultError, and what
    :func:`certify` raises; whether all is as promised the trial says (``passed``).
    """
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.certificates.gemm import Certificate
    from memaopt.trials import bundle, gemm, network

    _refuse_unwritable(what)
    certificate = _certified("run", what, machine, options)
    folder = Path(what) if isinstance(what, str | Path) and not Path(what).is_file() else None
    if isinstance(certificate, Certificate):
        if inputs != 1:
            raise InputError("run: inputs has no effect on a Gemm, which runs on inputs of its own")
        return gemm.run(certificate, folder, compiler)
    if isinstance(certificate, BundleCertificate):
        return bundle.run(certificate.plan, inputs, folder=folder, compiler=compiler)
    return network.run(cast("NetworkCertificate", certificate).plan, inputs, folder=folder, compiler=compiler)


def data_of(plan: Any) -> dict[str, Any]:
    """What ``solve --json`` prints of a network's plan, without certificate and trial."""
    from memaopt.report.network_json import plan_json

    return plan_json(plan, None, None)
