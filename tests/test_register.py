"""What is registered from outside: known everywhere once it is, refused where the name is taken."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_helpers import Cli

import memaopt
from memaopt import InputError, extensions, mcu, register
from memaopt.access import Access
from memaopt.bench import kernel_check
from memaopt.kernels import registry
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.family import Family
from memaopt.kernels.plan import Plan
from memaopt.problems import objectives, suites
from memaopt.problems.layers import Layer, Softmax
from memaopt.sweeps import task

_OWN = next(family for family in registry.FAMILIES if family.computes is Softmax)


class _Mine:
    """The softmax that comes with memaopt under another name, said to take a cycle less; ``off`` accesses too many."""

    name, computes = "mine", Softmax

    def __init__(self, off: int = 0) -> None:
        self._off = off

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        return tuple(self._renamed(plan) for plan in _OWN.plans(layer))

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        own = next(each for each in _OWN.plans(layer) if self._renamed(each) == plan)
        return dataclasses.replace(_OWN.emit(layer, own, name), plan=plan)

    def _renamed(self, plan: Plan) -> Plan:
        first, *others = plan.promise.inputs
        more = plan.promise._replace(inputs=(first + Access(loads=self._off), *others))
        return dataclasses.replace(plan, family=self.name, cycles=plan.cycles - 1, promise=more)


def _softmax() -> Layer:
    """One that no other kernel of memaopt's computes in less time."""
    layers = (layer for _, layer in kernel_check.random_layers(200) if isinstance(layer, Softmax))
    return next(each for each in layers if min(registry.plans(each), key=lambda plan: plan.cycles).family == _OWN.name)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Nothing stays registered."""
    yield
    for known in (extensions.MACHINES, extensions.SUITES, extensions.KERNELS, extensions.OBJECTIVES):
        known.remove("mine")
    registry.plans.cache_clear()


def test_a_machine_is_known_by_its_name(cli: Cli) -> None:
    """Catches a machine that the library knows and the command line does not, and one that hides a preset."""
    with pytest.raises(InputError, match="no microcontroller 'mine'"):
        mcu("mine")
    mine = mcu("stm32f446").with_sizes(sram=20480).model_copy(update={"name": "mine"})
    register.machine(mine)
    assert mcu("mine") == mine
    assert mcu("mine", "ram").setting.name == "ram"
    assert cli("solve gemm 8x8x8 --mcu mine --json").json["mcu"] == "mine"
    register.machine(mine)
    with pytest.raises(InputError, match="entry 'mine' already"):
        register.machine(mine.with_sizes(sram=4096))
    with pytest.raises(InputError, match="comes with memaopt"):
        register.machine(mcu("stm32f446"))


def test_a_suite_is_known_by_its_name(cli: Cli) -> None:
    """Catches a suite that one command knows alone."""
    register.suite("mine", [(8, 9, 10), (4, 5, 6)])
    assert [problem.name for problem in suites.suite("mine")] == ["8x9x10", "4x5x6"]
    assert len(cli("solve --suite mine --proof full --json").json) == 2
    with pytest.raises(InputError, match="comes with memaopt"):
        register.suite("tinyml", [(1, 1, 1)])


@pytest.mark.slow
def test_a_kernel_is_offered_and_its_promise_counted() -> None:
    """Catches a kernel that is never chosen, one that replaces another, and a promise that nobody counts."""
    mine: Family = _Mine()
    layer = _softmax()
    assert "mine" not in {plan.family for plan in registry.plans(layer)}
    register.kernel(mine)
    best = min(registry.plans(layer), key=lambda plan: plan.cycles)
    assert best.family == "mine"
    assert registry.emit(layer, best, "layer").plan == best
    machine = mcu("stm32l4r5")
    runs = list(kernel_check.check(mine, machine, 2))
    assert runs
    assert all(run.equal for run in runs)
    assert not any(run.equal for run in kernel_check.check(_Mine(off=1), machine, 1))
    with pytest.raises(InputError, match="comes with memaopt"):
        register.kernel(_OWN)


@pytest.mark.parametrize(
    ("part", "does", "said"),
    [
        ("plans", lambda layer: 1 // 0, "kernel mine of theirs 1.0: plans: ZeroDivisionError: integer division"),
        ("plans", lambda layer: (3,), "kernel mine of theirs 1.0: plans: a int is no Plan"),
        ("plans", lambda layer: None, "kernel mine of theirs 1.0: plans: TypeError: 'NoneType' object is not iterable"),
        ("emit", lambda layer, plan, name: {}[name], "kernel mine of theirs 1.0: emit: KeyError: 'layer'"),
    ],
)
def test_a_kernel_that_fails_is_one_line(
    part: str, does: Callable[..., object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a traceback for a fault of a package's kernel, and a message that does not say whose it is."""
    layer = _softmax()
    mine = _Mine()
    monkeypatch.setattr(mine, part, does, raising=False)
    register.kernel(mine)
    monkeypatch.setitem(extensions.KERNELS._packages, "mine", "theirs 1.0")
    with pytest.raises(InputError, match=f"^{said}"):
        registry.emit(layer, min(registry.plans(layer), key=lambda plan: plan.cycles), "layer")


def test_entry_points_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a package's machines and suites that are not there, or a failing one that is a traceback."""

    def entries(group: str) -> list[metadata.EntryPoint]:
        return [metadata.EntryPoint("mine", value, group)] if group == "memaopt.suites" else []

    value = "memaopt.problems.suites:TINYML"
    monkeypatch.setattr(metadata, "entry_points", entries)
    monkeypatch.setattr(extensions, "SUITES", extensions.Extensions("memaopt.suites"))
    assert len(suites.suite("mine")) == len(suites.TINYML)
    value = "memaopt.no_such:thing"
    monkeypatch.setattr(extensions, "SUITES", extensions.Extensions("memaopt.suites"))
    for _ in range(2):
        with pytest.raises(InputError, match=r"entry point mine of memaopt.suites: No module named 'memaopt.no_such'"):
            suites.suite("mine")
    module = type(metadata)("memaopt_test_kernel")
    module.Mine = _Mine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "memaopt_test_kernel", module)
    kernel = metadata.EntryPoint("mine", "memaopt_test_kernel:Mine", "memaopt.kernels")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [kernel] if group == "memaopt.kernels" else [])
    assert isinstance(extensions.Extensions("memaopt.kernels").all()["mine"], _Mine)  # a class makes its kernel
    monkeypatch.setattr(metadata, "entry_points", entries)
    value = "memaopt.problems.suites:suite"  # a function that wants an argument
    with pytest.raises(InputError, match=r"entry point mine of memaopt.suites: suite"):
        suites.suite("mine")


def test_the_example_of_the_document_holds() -> None:
    """Catches a document that shows calls which there are not."""
    text = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
    exec(text.split("```python\n")[1].split("```")[0], {})
    assert mcu("mine").sram.size == 20480
    assert [problem.name for problem in suites.suite("mine")] == ["64x576x64", "8x9x10"]
    assert objectives.resolved("mine") == "4*cycles + 1*qspi"


def test_a_sweep_asks_again_where_a_kernel_came_or_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an answer taken for another's: a kernel that a package brings may be the better one."""

    def key(version: str | None) -> str:
        there = None if version is None else metadata.EntryPoint("mine", "builtins:object", "memaopt.kernels")
        if there is not None:
            vars(there)["dist"] = SimpleNamespace(name="theirs", version=version)
        monkeypatch.setattr(metadata, "entry_points", lambda group: [there] if there is not None else [])
        monkeypatch.setattr(task, "KERNELS", extensions.Extensions("memaopt.kernels"))
        return task.Task("network", "a", "b", "c", "d", "stock", "cycles", None, None).key

    assert len({key(None), key("1.0"), key("1.1")}) == 3
    assert key("1.0") == key("1.0")


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda: register.machine(3), "a machine is an Mcu, or the path of a .toml file, not a int"),  # type: ignore[arg-type]
        (lambda: register.machine(_called("STM32L4R5")), "STM32L4R5 comes with memaopt"),
        (lambda: register.machine(_called("all")), "all is no name that mcu"),
        (lambda: register.suite("", [(1, 1, 1)]), "give it a name"),
        (lambda: register.suite("mine", [(0, 1, 1)]), "suite mine: each problem is M, K and N"),
        (lambda: register.suite("mine", [(1, 1)]), "suite mine: each problem is M, K and N"),  # type: ignore[list-item]
        (lambda: register.kernel(object()), "a object is no kernel: it has no name"),  # type: ignore[arg-type]
        (lambda: register.objective("ram", cycles=1), "give it another name"),
        (lambda: register.objective("mine", cycles=-1), "no objective '-1[*]cycles'"),
    ],
)
def test_what_is_none_is_refused_when_it_is_registered(add: Callable[[], None], message: str) -> None:
    """Catches a traceback, or a thing that is registered and found by nobody, or found to be nonsense later."""
    with pytest.raises(InputError, match=message):
        add()


def test_a_packages_kernel_is_held_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an entry point that takes the name of memaopt's own kernel, and one that is refused once alone."""
    extensions.KERNELS.add("mine", _OWN)
    with pytest.raises(InputError, match=f"kernel {_OWN.name} comes with memaopt"):
        registry.families()
    known = extensions.Extensions("memaopt.suites")
    known.add("mine", [(1, 1, 1)])
    entries = [metadata.EntryPoint(name, "memaopt.problems.suites:TINYML", "memaopt.suites") for name in ("a", "mine")]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries)
    for _ in range(2):
        with pytest.raises(InputError, match="there is a suites entry 'mine' already"):
            known.all()


def _called(name: str) -> memaopt.Mcu:
    return mcu("stm32f446").model_copy(update={"name": name})


def test_what_is_registered_is_the_public_module() -> None:
    """Catches a module that is not where the documents say."""
    assert memaopt.register is register


def test_an_objective_is_its_weights(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a name whose weights no certificate has, and one that hides a word."""
    register.objective("mine", cycles=2, qspi=50)
    machine = mcu("stm32l4r5").with_sizes(sram=16384)
    problem = memaopt.Gemm(m=8, k=9, n=10, placement=memaopt.Placement(a="qspi", b="qspi"))
    found = memaopt.certify(problem, machine, "mine")
    assert found.objective == "2*cycles + 50*qspi"
    memaopt.verify(found)
    told = cli("solve gemm 8x9x10 --place a=qspi,b=qspi --sram 16KiB --objective mine --json")
    assert told.json["objective"] == found.objective
    for name in ("cycles", "no name"):
        with pytest.raises(InputError, match="give it another name"):
            register.objective(name, cycles=1)
    with pytest.raises(InputError, match="cycles or energy need a weight"):
        register.objective("bytes_alone", qspi=1)
    entry = metadata.EntryPoint("theirs", "memaopt_test_objective:TEXT", "memaopt.objectives")
    module = type(metadata)("memaopt_test_objective")
    module.TEXT = "3*cycles"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "memaopt_test_objective", module)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry] if group == "memaopt.objectives" else [])
    monkeypatch.setattr(extensions.OBJECTIVES, "_loaded", False)
    assert objectives.resolved("theirs") == "3*cycles"
    extensions.OBJECTIVES.remove("theirs")
