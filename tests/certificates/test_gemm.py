"""Certificates: written only on agreement, read back whole, and refused with any one number changed."""

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import mutations
import pytest
from gemm_certificates_helpers import CASES, certified, fields
from hypothesis import given, settings
from models_helpers import brute_force, spaces

import memaopt
from memaopt.certificates import gemm as certificates
from memaopt.certificates.envelope import digest
from memaopt.certificates.gemm import Certificate, certify, verify
from memaopt.errors import (
    FalseClaimError,
    InfeasibleError,
    InputError,
    MemaoptError,
)
from memaopt.kernels.schedule import IN_BLOCKS, LayerSchedule, Schedule, Space, space, variants
from memaopt.machines.core import core
from memaopt.machines.mcu import Mcu, mcu
from memaopt.models import layer_kernels
from memaopt.models.accesses import promise
from memaopt.models.replay import replay
from memaopt.problems.gemm import Gemm, Weights, gemm

Path_ = tuple[str | int, ...]


def _leaves(data: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The path of every number and truth value in a JSON tree."""
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in children:
        yield from _leaves(value, (*path, key))
    if isinstance(data, bool | int | float):
        yield path


def _changed(data: dict[str, Any], path: Path_, by: int) -> dict[str, Any]:
    """A copy with the number at ``path`` changed."""
    data = copy.deepcopy(data)
    at: Any = data
    for key in path[:-1]:
        at = at[key]
    value = at[path[-1]]
    at[path[-1]] = not value if isinstance(value, bool) else value + by
    return data


def _least(where: Space) -> tuple[int, ...] | None:
    """The least cost in a space, of nests or of layer kernels."""
    if not where.layers:
        return brute_force(where)
    return min((price for price in layer_kernels.prices(where) if price is not None), default=None)


@cache
def _least_of_all(problem: str, machine: str, objective: str, buffering: str) -> tuple[int, ...]:
    """The least cost of all variants, from JSON: two cases differ in nothing but what proves them."""
    whole = space(Gemm.model_validate_json(problem), Mcu.model_validate_json(machine), objective, buffering)
    return min(filter(None, map(_least, variants(whole))))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("by", [1, -1])
def test_any_one_number_changed_is_refused(name: str, by: int) -> None:
    """Catches a number that neither the digest nor the schema protects."""
    data = fields(certified(name))
    for path in _leaves(data):
        with pytest.raises((FalseClaimError, InputError)):
            verify(Certificate.from_json(json.dumps(_changed(data, path, by))))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("by", [1, -1])
def test_any_one_claim_changed_is_false_even_with_a_new_digest(name: str, by: int) -> None:
    """Catches a claim that is taken on trust: with the digest made anew, only deriving the claim can refuse it.

    A changed premise (the problem, the machine) makes a claim about something else: it must be false, or true of
    what it now speaks about, as brute force and the replay then show.
    """
    cert = certified(name)
    data = fields(cert)
    refused = 0
    for path in _leaves(data):
        changed = _changed(data, path, by)
        changed["sha256"] = digest(changed)
        try:
            read = Certificate.from_json(json.dumps(changed))
        except InputError:
            refused += 1
            continue
        if path[0] in ("problem", "machine"):
            if by < 0:
                continue  # what it then speaks of is looked at once
            try:
                verify(read)
            except FalseClaimError:
                refused += 1
                continue
            given = json.dumps(changed["problem"]), json.dumps(changed["machine"])
            assert _least_of_all(*given, read.objective, read.buffering) == read.answers[0].objective, path
            if isinstance(read.schedule, Schedule):
                assert replay(read.space, read.schedule) == read.traffic.buffers, path
        else:
            with pytest.raises(FalseClaimError):
                verify(read)
            refused += 1
    assert refused > 40


def test_one_of_the_cases_has_a_layer_kernel() -> None:
    """Catches tests of layer kernels' certificates that have become tests of nests."""
    assert isinstance(certified("s8 constants").schedule, LayerSchedule)


@pytest.mark.parametrize(
    ("path", "value", "claim"),
    [
        (("traffic", "buffers", "a_tile", "loads"), 1, "traffic of a_tile: 1 loads"),
        (("traffic", "external_bytes"), 5, "external_bytes"),
        (("bounds", "external_io"), 10**9, "external_io"),
        (("answers", 1, "objective"), [1, 2], "answer of cp_sat"),
        (("answers", 1, "proven"), False, "answer of cp_sat"),
        (("schedule", "mc"), 6, "its tiles need"),
        (("schedule", "turning"), False, "traffic of A: 60 loads"),
        (("schedule", "kernel"), "f33-c", "no kernel family 'f33-c'"),
        (("problem", "placement", "c"), "flash", "read-only"),
        (("problem", "placement", "a"), "auto", "left open"),
        (("problem", "placement", "a"), "tape", "no memory 'tape'"),
        (("machine", "core"), {**core("cortex-m4").model_dump(mode="json"), "core_registers": 1}, "no kernel f32"),
        (("schedule", "streamed"), ["A"], "not among the choices"),
        (("schedule", "code"), "ram", "not among the choices"),
        (("gap"), 0.25, "gap: it is"),
        (("sha256"), "0" * 64, "sha256"),
    ],
)
def test_verify_names_the_claim(path: Path_ | str, value: object, claim: str) -> None:
    """Catches a refusal that leaves the reader to search, or a traceback instead of one."""
    data = fields(certified("f32 all outside"))
    keys = (path,) if isinstance(path, str) else path
    at: Any = data
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    if keys[-1] != "sha256":
        data["sha256"] = digest(data)
    with pytest.raises(FalseClaimError, match=re.escape(claim)) as caught:
        verify(Certificate.from_json(json.dumps(data)))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_cases_cover_every_buffer() -> None:
    """Catches cases that no longer exercise spilling, accumulators beside C, or parameters of channels."""
    buffers = {name: set(certified(name).traffic.buffers) for name in CASES}
    nests = {*"ABC", "C_partial", "a_tile", "b_tile", "c_tile", "channels"}
    assert set().union(*buffers.values()) - {"scratch"} == {*nests, "weights", "stack"}
    assert "C_partial" in buffers["q15 spilling"]
    assert {"C", "c_tile"} <= buffers["q15 beside C"]


def test_a_closed_form_alone_says_so() -> None:
    """Catches a certificate of one model that passes for one of three, in its text, its file or when verified."""
    alone, full = certified("f32 closed form alone"), certified("f32 all outside")
    assert (alone.schedule, alone.traffic, alone.variants) == (full.schedule, full.traffic, full.variants)
    assert not alone.agreed
    assert "closed form, no other model was asked" in alone.summary()
    assert verify(full).unproven == ()
    assert "no other model was asked" in " ".join(verify(alone).unproven)
    for other in (alone.model_copy(update={"proof": "full"}), full.model_copy(update={"proof": "closed form"})):
        with pytest.raises(FalseClaimError, match="answers: they are of"):
            verify(other.signed())
    with pytest.raises(InputError, match="no proof 'none'"):
        certify(alone.problem, alone.machine, proof="none")


def test_a_worse_schedule_told_truly_is_refused() -> None:
    """Catches a verifier that checks the figures of a schedule but not that nothing is better."""
    cert = certified("f32 all outside")
    worse = cert.schedule.model_copy(update={"mc": 1, "kc": 1, "nc": 1, "hold": IN_BLOCKS, "turning": False})
    unsigned = cert.model_copy(update=_told_of(cert.space, worse))
    forged = unsigned.signed()
    with pytest.raises(FalseClaimError, match="is possible"):
        verify(forged)


def _told_of(where: Space, schedule: Any) -> dict[str, Any]:
    """All that a certificate would truly say of a schedule, but for its being optimal."""
    traffic = certificates.traffic_of(where, schedule)
    cost = certificates.price_of(where, schedule)
    bounds = certificates.lower_bounds(where)
    answers = tuple(certificates.ModelAnswer(model=model, objective=cost, proven=True) for model in certificates.MODELS)
    return {
        "schedule": schedule,
        "traffic": traffic,
        "answers": answers,
        "gap": certificates.gap(traffic.external_bytes, bounds.external_bytes),
        "register_gap": certificates.gap(traffic.register_bytes, bounds.register_bytes),
    }


@settings(max_examples=15, deadline=None)
@given(spaces(most=16))
def test_what_is_certified_verifies_and_survives_json(where: Space) -> None:
    """Catches a certificate that its own verifier refuses, or that JSON does not carry exactly."""
    try:
        cert = certify(where.problem, where.machine, where.objective, where.buffering)
    except InfeasibleError:
        return
    again = Certificate.from_json(cert.to_json())
    assert again == cert
    verify(again)
    assert cert.agreed
    assert cert.gap >= 0
    assert cert.register_gap >= 0
    if isinstance(cert.schedule, Schedule):
        assert cert.traffic.buffers == promise(cert.space, cert.schedule)
    else:
        plan = layer_kernels.offer(cert.space, cert.schedule).plan
        assert cert.traffic.buffers == layer_kernels.promise(plan)


@settings(max_examples=20, deadline=None)
@given(spaces(most=8, objectives=("cycles", "energy"), small=True))
def test_the_choice_among_variants_is_the_best_there_is(where: Space) -> None:
    """Catches operands staged, or code in flash, where streaming them or running from RAM costs less."""
    found = [_least(each) for each in variants(where)]
    try:
        cert = certify(where.problem, where.machine, where.objective, where.buffering)
    except InfeasibleError:
        assert not any(found)
        return
    assert [variant.objective for variant in cert.variants] == found
    assert cert.answers[0].objective == min(filter(None, found))
    assert certificates.price_of(cert.space, cert.schedule) == cert.answers[0].objective


def test_the_public_api_reads_as_documented() -> None:
    """Catches a name that the package no longer exports."""
    cert = memaopt.certify(memaopt.Gemm(m=8, k=16, n=8, dtype="q15"), memaopt.mcu("stm32l4r5"), objective="bytes")
    assert (cert.schedule.mc, cert.agreed, cert.gap) == (8, True, 0.0)
    assert cert.traffic.external_bytes == 8 * 16 * 2
    assert [answer.model for answer in cert.answers] == ["closed_form", "cp_sat", "exhaustive"]
    memaopt.verify(cert)


def test_every_leaf_is_derived_or_a_premise() -> None:
    """Catches a field that nobody checks: each leaf is changed in several ways and signed again. It is refused, or it
    belongs to what the certificate takes as given, and then what it claims is what certifying that gives.

    Numbers of the machine are changed above, and compared with brute force."""
    data = fields(certified("s8 mixed"))
    for place, old in mutations.leaves({key: value for key, value in data.items() if key != "sha256"}):
        name = ".".join(map(str, place))
        if place[0] == "machine" and isinstance(old, bool | int | float):
            continue
        for value in mutations.values(old)[: 1 if place[0] == "machine" else None]:
            made = mutations.changed(data, place, value)
            try:
                read = Certificate.from_json(json.dumps(made))
                verify(read)
            except MemaoptError as error:
                if "\n" in str(error):
                    pytest.fail(f"{name}: more than a line: {error}")
                continue
            assert place[0] in certificates.PREMISES, f"{name}: {value!r} is accepted"
            if not isinstance(value, str):
                again = certify(read.problem, read.machine, read.objective, read.buffering)
                assert again.answers == read.answers, name
    for what, made in mutations.structures(data):
        if "machine" not in what and "problem" not in what:
            with pytest.raises(MemaoptError):
                verify(Certificate.from_json(json.dumps(made)))


def test_premises_are_told() -> None:
    """Catches a premise that a reader of ``verify`` is not told of."""
    told = " ".join(verify(certified("s8 mixed")).premises)
    for word in ("problem gemm", "machine", "digest", "objective", "buffering", "zero points", "clamp", "weights"):
        assert word in told
    problem = gemm(2, 3, 4, dtype="s8", input_zero_point=5, clamp=(-9, 8), weights=Weights(seed=7))
    assert problem.arithmetic == "zero points 5 of B and 0 of C, clamp -9 to 8, random weights of seed 7"


def test_words_that_are_unknown() -> None:
    """Catches a traceback for a misspelt objective or buffering."""
    problem, machine = gemm(4, 4, 4), mcu("stm32l4r5")
    with pytest.raises(InputError, match="no objective 'speed'"):
        certify(problem, machine, objective="speed")
    with pytest.raises(InputError, match="no buffering 'triple'"):
        certify(problem, machine, buffering="triple")


def test_every_error_is_in_one_tree() -> None:
    """Catches an exported error that `except MemaoptError` would miss."""
    errors = [getattr(memaopt, name) for name in memaopt.__all__ if name.endswith("Error")]
    assert len(errors) >= 9
    assert all(issubclass(error, MemaoptError) for error in errors)
