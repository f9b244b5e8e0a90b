"""Schedules of one's own, judged: priced as promised, refused with the reason, held against the certified optimum."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import Cli
from models_helpers import machine_with

import memaopt
from memaopt import Gemm, InputError, Mapping, Schedule, Tiling, evaluate
from memaopt.certificates import evaluation
from memaopt.certificates.gemm import certify
from memaopt.errors import DisagreementError
from memaopt.kernels.schedule import space
from memaopt.models.layer_kernels import price_of, why_infeasible
from memaopt.models.replay import replay
from memaopt.problems.gemm import gemm

_OUTSIDE = {"a": "qspi", "b": "qspi", "c": "qspi"}
_PROBLEM = gemm(24, 18, 20, dtype="q15", placement=_OUTSIDE)
_MACHINE = machine_with(2048, waits=3)
#: The same blocks, 8 x 9 x 10 with n outermost, as each tool writes them.
_OWN: dict[str, Any] = {"external": ["n 2", "m 3", "k 2"], "sram": ["n 5", "m 2", "k 9"], "registers": ["m 4", "n 2"]}
_TIMELOOP: dict[str, Any] = {
    "mapping": [
        {"target": "MainMemory", "type": "temporal", "factors": "M=3 K=2 N=2", "permutation": "KMN"},
        {"target": "GlobalBuffer", "type": "temporal", "factors": "M2 K9 N5", "permutation": "KMN"},
        {
            "target": "RegisterFile",
            "type": "temporal",
            "factors": ["M=4", "K=1", "N=2"],
            "permutation": ["K", "M", "N"],
        },
    ]
}
_LOOPS = [[["B", 2], ["K", 4]], [["C", 9], ["K", 2], ["B", 5]], [["C", 2], ["K", 3], ["B", 2]]]
_ZIGZAG: dict[str, Any] = {"W": _LOOPS, "I": _LOOPS, "O": _LOOPS}


@pytest.mark.parametrize("objective", ["bytes", "cycles"])
@pytest.mark.parametrize("problem", [_PROBLEM, gemm(6, 8, 5, dtype="s8")], ids=["nest", "layer kernel"])
def test_the_certified_schedule_is_optimal(problem: Gemm, objective: str) -> None:
    """Catches a judge that prices a schedule otherwise than its certificate does."""
    best = certify(problem, _MACHINE, objective)
    found = evaluate(problem, _MACHINE, best.schedule, objective)
    assert found.feasible
    assert found.optimal
    assert found.traffic == best.traffic
    assert {distance.optimum for distance in found.distances.values()} == {0.0}
    assert found.headline().startswith("optimal")
    assert found.replayed is isinstance(best.schedule, Schedule)
    by_memory = sum(moved.bytes for moved in found.memories.values())
    assert by_memory == sum(moved.bytes for moved in best.traffic.buffers.values())


def test_operands_cut_at_other_loops_have_hold_levels() -> None:
    """Catches a tile that is kept while other loops run, taken for one of every block: the nest is n 2, m 3, k 2."""
    registers, block = [["B", 2], ["K", 4]], [["C", 9], ["K", 2], ["B", 5]]
    loops = [["C", 2], ["K", 3], ["B", 2]]
    whole = {"W": [registers, block + loops, []], "I": [registers, block, loops], "O": [registers, block, loops]}
    found = evaluate(_PROBLEM, machine_with(8192, waits=3), whole)
    assert isinstance(found, evaluation.Evaluation)
    own = {**_OWN, "outside": [0, 3, 3]}
    assert found == evaluate(_PROBLEM, machine_with(8192, waits=3), own)
    assert found.traffic is not None
    assert found.traffic.buffers["A"].load_bytes == _PROBLEM.bytes_of("A")
    assert found.traffic.buffers["B"].load_bytes == 3 * _PROBLEM.bytes_of("B")
    column = {**whole, "I": [registers, block + loops[:2], loops[2:]]}
    again = evaluate(_PROBLEM, machine_with(8192, waits=3), column)
    assert isinstance(again, evaluation.Evaluation)
    assert again.traffic is not None
    assert again.traffic.buffers["B"].load_bytes == _PROBLEM.bytes_of("B")
    inside = {"sram": ["m 2", "k 18", "n 5"], "registers": ["m 4"]}
    with pytest.raises(InputError, match="held within loops along n that are one"):
        evaluate(_PROBLEM, _MACHINE, {"external": ["n 2", "n 2", "m 3"], **inside, "outside": [1, 3, 3]})


def test_a_worse_schedule_is_told_how_far_it_is() -> None:
    """Catches distances of other figures, or of another optimum."""
    found = evaluate(_PROBLEM, _MACHINE, {"order": ["k", "m", "n"], "mc": 4, "kc": 4, "nc": 4})
    best = found.optimum.traffic
    assert found.traffic is not None
    assert not found.optimal
    distance = found.distances["external bytes"]
    assert distance.optimum == found.traffic.external_bytes / best.external_bytes - 1 > 0
    assert distance.bound == found.traffic.external_bytes / found.bounds.external_bytes - 1
    assert isinstance(found.schedule, Schedule)
    assert found.traffic.buffers == replay(space(_PROBLEM, _MACHINE), found.schedule)
    assert found.memories["qspi"].bytes == found.traffic.external_bytes
    assert f"{distance.optimum:.1%} above the optimum's" in found.summary()


def test_what_is_left_open_the_cheapest_kernel_fills() -> None:
    """Catches a kernel that is the first of all that fit, or one that was not asked for."""
    tiling = Tiling(order=("n", "m", "k"), mc=8, kc=18, nc=5, stationary="C", mr=2)
    found = evaluate(_PROBLEM, _MACHINE, tiling)
    where = space(_PROBLEM, _MACHINE)
    fitting = [s for s in tiling.completions(where) if why_infeasible(where, s) is None]
    assert len(fitting) > 3
    assert {(s.family.stationary, s.mr) for s in fitting} == {("C", 2)}
    assert found.cost == min(price_of(where, s) for s in fitting)


@pytest.mark.parametrize(
    ("tiling", "reason"),
    [
        ({"mc": 24, "kc": 18, "nc": 20}, "its tiles need 2,544 bytes of SRAM, and 1,536 are left for them"),
        ({"mc": 25, "kc": 18, "nc": 2}, "mc = 25 is larger than M = 24"),
        ({"mc": 8, "kc": 9, "nc": 10, "mr": 63}, "no kernel fits the registers and is as asked"),
        (
            {"mc": 8, "kc": 9, "nc": 10, "kernel": "s8-c", "mr": 2, "kr": 4, "nr": 2},
            "s8-c is a kernel of s8, not of q15",
        ),
        (
            {"mc": 8, "kc": 9, "nc": 10, "kernel": "q15-c", "mr": 2, "kr": 3, "nr": 2},
            "q15-c has no tile 2x3x2: MR is 1 to 10, KR 2, NR 1 to 4",
        ),
        (
            {"mc": 8, "kc": 9, "nc": 10, "kernel": "q15-c", "mr": 9, "kr": 2, "nr": 4},
            "no kernel q15-c 9x2x4 fits the registers",
        ),
        ({"mc": 8, "kc": 9, "nc": 10, "streamed": ["A"]}, "it streams an operand, which is not among the choices"),
        ({"mc": 8, "kc": 9, "nc": 10, "code": "ram"}, "it runs from RAM, which is not among the choices"),
    ],
)
def test_an_infeasible_schedule_says_why(tiling: dict[str, Any], reason: str) -> None:
    """Catches a schedule that is priced though it cannot run, or refused without the reason."""
    found = evaluate(_PROBLEM, _MACHINE, {"order": ["m", "k", "n"], **tiling})
    assert not found.feasible
    assert reason in found.reason
    assert (found.traffic, found.cost, found.memories, found.distances) == (None, None, {}, {})
    assert found.headline().startswith("infeasible")
    assert found.reason in found.summary()


def test_mappings_of_other_tools_are_the_same_schedule(tmp_path: Path) -> None:
    """Catches loops read from the wrong end, dimensions mixed up, and a level taken for another."""
    yaml = pytest.importorskip("yaml")
    (tmp_path / "timeloop.yaml").write_text(yaml.safe_dump(_TIMELOOP))
    (tmp_path / "zigzag.json").write_text(json.dumps(_ZIGZAG))
    (tmp_path / "own.toml").write_text("\n".join(f"{level} = {loops}" for level, loops in _OWN.items()))
    found = [evaluate(_PROBLEM, _MACHINE, tmp_path / name) for name in ("timeloop.yaml", "zigzag.json", "own.toml")]
    assert found[0].schedule == found[1].schedule == found[2].schedule
    schedule = found[0].schedule
    assert isinstance(schedule, Schedule)
    assert (schedule.order, schedule.block) == (("n", "m", "k"), {"m": 8, "k": 9, "n": 10})
    assert (schedule.family.stationary, schedule.mr, schedule.nr) == ("C", 4, 2)


def test_a_bypass_streams_and_a_padded_block_is_the_whole() -> None:
    """Catches a bypass that is not heard, and a block that a mapper padded beyond the problem."""
    bypasses = [{"target": "GlobalBuffer", "type": "bypass", "bypass": names} for names in (["Weights"], None)]
    data = {"mapping": [*_TIMELOOP["mapping"], *bypasses]}
    read = evaluation.parsed(data, "x")
    assert isinstance(read, Mapping)
    assert read.streamed == ("A",)
    padded = Mapping.checked({"external": ["k 3"], "sram": ["m 24", "n 32", "k 7"]}, "x").tiling(_PROBLEM)
    assert (padded.mc, padded.kc, padded.nc, padded.order) == (24, 7, 20, ("k", "m", "n"))


def _changed(number: int, **fields: Any) -> dict[str, Any]:
    directives = [dict(directive) for directive in _TIMELOOP["mapping"]]
    directives[number].update(fields)
    return {"mapping": directives}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], "a schedule is an object"),
        ({}, "s.json: says nothing"),
        ({"format": "memaopt-network-certificate-11", "layers": []}, "s.json: the certificate of a network"),
        ({"order": ["m", "m", "k"], "mc": 1, "kc": 1, "nc": 1}, "each of the loops m, k and n is there once"),
        ({"order": ["m", "k", "n"], "mc": 1, "kc": 1, "nc": 1, "kernel": "f33"}, "no kernel family 'f33'"),
        ({"external": ["x 4"]}, "'x 4' is no loop"),
        ({"external": ["n 0"]}, "'n 0' is no loop"),
        ({"ext": ["n 4"]}, "ext is no field"),
        (
            {**_OWN, "external": ["n 2", "m 3", "k 3"]},
            "s.json: 3 blocks of 9 along k make 27, and K of gemm 24x18x20 is 18",
        ),
        ({**_OWN, "external": ["n 2", "m 3", "k 2", "n 2"]}, "a nest of memaopt has one for each"),
        (_changed(0, target="Disk"), "directive 1: level 'Disk' is none that is known"),
        (_changed(1, type="spatial"), "directive 2: spatial loops need more than the one core"),
        (_changed(1, type="magic"), "directive 2: type 'magic'"),
        (_changed(2, factors="M=4 Q=2"), "directive 3: factor 'Q=2'"),
        (_changed(1, permutation="KK"), "directive 2: permutation 'KK'"),
        (_changed(1, target="GlobalBuffer", type="bypass", bypass=3), "directive 2: bypass '3': a list of data spaces"),
        (_changed(1, target="DRAM2"), "directive 2: external has loops already"),
        ({**_ZIGZAG, "W": [[], [["K", 24], ["C", 18], ["B", 20]], []]}, "have other loops, or other register tiles"),
        ({**_ZIGZAG, "O": [[["FX", 3]], [], []]}, "no loop along K, C, B"),
        ({**_ZIGZAG, "O": 3}, "O needs loops"),
    ],
)
def test_what_cannot_be_read_is_one_line(data: Any, message: str, tmp_path: Path) -> None:
    """Catches a traceback, or an error that does not say where the mapping is wrong."""
    (tmp_path / "s.json").write_text(json.dumps(data))
    with pytest.raises(InputError) as caught:
        evaluate(_PROBLEM, _MACHINE, tmp_path / "s.json")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("external: [2020-99-99]", "a value is none of its form or tag: month must be in 1..12"),
        ("external: !!bool maybe", "a value is none of its form or tag"),
        ("external: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (
            "a0: &a0 {m: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)),
            "aliases",
        ),
        ("a0: &a0 [x, y]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)), "aliases"),
        ("mapping: &a [*a]", "its aliases repeat too much"),
    ],
)
def test_yaml_that_is_none_or_grows_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    """Catches a constructor's own error, which is none of YAML's, and aliases that fill the memory."""
    pytest.importorskip("yaml")
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        evaluation.read(tmp_path / "s.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_contradiction_is_no_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a schedule below the optimum, or accesses that no replay makes, reported as if all were well."""
    tiling = Tiling(order=("n", "m", "k"), mc=8, kc=9, nc=10)
    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "price_of", lambda *_: (0, 0))
        with pytest.raises(DisagreementError, match="less than the optimum"):
            evaluate(_PROBLEM, _MACHINE, tiling)
    other = evaluation.simulate(space(_PROBLEM, _MACHINE), certify(_PROBLEM, _MACHINE).schedule)  # type: ignore[arg-type]
    monkeypatch.setattr(evaluation, "simulate", lambda *_: other)
    with pytest.raises(DisagreementError, match="replaying"):
        evaluate(_PROBLEM, _MACHINE, tiling)


def test_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """Catches a command that cannot be told from its exit code, or prints something else than the library says."""
    fits, not_ = tmp_path / "fits.json", tmp_path / "not.json"
    fits.write_text('{"order": ["m", "k", "n"], "mc": 8, "kc": 8, "nc": 8}')
    not_.write_text('{"order": ["m", "k", "n"], "mc": 64, "kc": 64, "nc": 64}')
    command = ("evaluate", "gemm", "64x64x64", "--place", "all=qspi", "--sram", "4KiB")
    told = cli(*command, fits)
    assert told.code == 0
    problem, machine = gemm(64, 64, 64, placement=_OUTSIDE), memaopt.mcu("stm32l4r5").with_sizes(sram=4096)
    assert told.out.splitlines()[0] == evaluate(problem, machine, fits).headline()
    as_json = cli(*command, not_, "--json", "--proof", "closed form")
    assert (as_json.code, as_json.json["feasible"]) == (1, False)
    fits.write_text(cli("solve", *command[1:], "--proof", "closed form", "--json").out)
    assert cli(*command, fits, "--json", "--proof", "closed form").json["distances"]["register bytes"]["optimum"] == 0
    assert "give gemm, its sizes and a file" in cli.refused("evaluate gemm 64x64x64")
    assert "cannot be read" in cli.refused(*command, tmp_path / "none.json")
