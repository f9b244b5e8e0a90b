"""A plan of somebody's for a network or a layer: which kernels, as data, and what of a problem they leave to choose."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from memaopt.choice import fusion
from memaopt.choice.choice import Candidate, Stage
from memaopt.choice.placement import ON_CHIP, NetworkPlacement
from memaopt.choice.problem import ALL_AWAY, Problem
from memaopt.errors import InfeasibleError, InputError
from memaopt.inputs import Input, any_of
from memaopt.kernels.registry import Format
from memaopt.memory.plan import MemoryPlan
from memaopt.networks.chains import Chains
from memaopt.networks.limits import MAX_OPERATORS
from memaopt.spelling import option

#: Fields of a certificate whose other values no plan is judged with, the values that it is, and what others are of.
_WHOLE = {"stream": (None, "on a window that slides"), "by_rows": (False, "whose input comes by rows")}

#: What a kernel of a family is asked for besides its tile.
_CHOSEN = ("options", "input_format", "output_format", "code_in_ram", "data_in_ram", "data_outside")

#: What of a certificate, beside its layers, is a plan.
_FIELDS = ("multiple", "chains", "memory", "room")

_Room = Annotated[int, Field(strict=True, ge=ALL_AWAY)] | Literal["any"] | None
_Position = Annotated[int, Field(strict=True, ge=0, le=MAX_OPERATORS)]


class GivenKernel(Input):
    """The kernel of one layer. ``operator`` is the layer's position in the simplified network, as certificates have it;
    with None it is the only one. What is None may be anything.
    """

    operator: _Position | None = None
    family: str
    tile: str | None = None
    options: tuple[tuple[str, int], ...] | None = None
    input_format: Format | None = None
    output_format: Format | None = None
    code_in_ram: bool | None = None
    data_in_ram: bool | None = None
    data_outside: bool | None = None

    def means(self, candidate: Candidate) -> bool:
        """Whether a candidate is as asked."""
        plan, where = candidate.plan, candidate.where
        found = {
            "family": plan.family,
            "tile": plan.tile,
            "options": plan.options,
            "input_format": plan.input_format,
            "output_format": plan.output_format,
            "code_in_ram": where.code,
            "data_in_ram": where.data,
            "data_outside": where.outside,
        }
        return all(getattr(self, name) in (None, value) for name, value in found.items())

    def __str__(self) -> str:
        return f"{self.family} {self.tile or 'with any tile'}"


class GivenPlan(Input):
    """The kernels of a network's layers; those that are left out are chosen, the best that fit. ``multiple`` is that in
    which channels are kept; ``chains`` are the operators that are computed depth first, each chain one layer of what is
    given; ``memory`` the order and the places of tensors and scratch, both chosen where None. ``room``: which tensors
    are outside the chip, as certificates have it; chosen where it is ``any``.
    """

    layers: tuple[GivenKernel, ...] = Field(min_length=1, max_length=MAX_OPERATORS)
    multiple: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    chains: Chains = ()
    memory: MemoryPlan | None = None
    room: _Room = "any"

    @field_validator("memory", mode="before")
    @classmethod
    def _from_lists(cls, data: Any) -> Any:
        """As a certificate has it: strictly read, from JSON, which has no tuples."""
        if not isinstance(data, dict):
            return data
        try:
            return MemoryPlan.model_validate_json(json.dumps(data))
        except TypeError as error:  # a date of TOML's or YAML's
            raise ValueError(str(error)) from None

    @classmethod
    def parsed(cls, data: Any, where: str, place: NetworkPlacement = ON_CHIP) -> GivenPlan:
        """The plan in data from ``where``: a network's certificate, or the fields of this; InputError if it is none, or
        of buffers in other memories than ``place``."""
        if not isinstance(data, dict):
            raise InputError(f"{where}: a plan is an object with layers, each with a family and a tile")
        if "layers" not in data and "family" in data:
            data = {"layers": [data]}
        if "format" in data and isinstance(data.get("layers"), list):
            for field, (usual, what) in _WHOLE.items():
                if data.get(field, usual) != usual:
                    raise InputError(f"{where}: it is of a network {what}: only plans of whole inputs are judged")
            placed = NetworkPlacement.checked(data.get("placement", {}), f"{where}: placement")
            if placed != place:
                there = placed.as_option if placed.describe() else f"no {option('place')}: all of it is on the chip"
                raise InputError(f"{where}: its buffers are elsewhere: give {there}")
            fields = GivenKernel.model_fields
            layers = [
                {name: value for name, value in layer.items() if name in fields} if isinstance(layer, dict) else layer
                for layer in data["layers"]
            ]
            data = {"layers": layers} | {name: data[name] for name in _FIELDS if name in data}
        return cls.checked(data, where)

    def among(self, problem: Problem) -> Problem | None:
        """What of a problem may be chosen still; None if other tensors are outside in it. InputError for a layer that
        is not there, InfeasibleError for a kernel that no layer can have.
        """
        if self.room not in ("any", problem.room):
            return None
        wanted: dict[int, GivenKernel] = {}
        for given in self.layers:
            position = self._position(given, problem)
            if wanted.setdefault(position, given) is not given:
                raise InputError(f"{given}: layer {position} has {wanted[position]} already: give each layer once")
        stages = []
        for position, stage in zip(problem.positions, problem.stages, strict=True):
            kernel = wanted.get(position)
            stages.append(stage if kernel is None else _narrowed(stage, kernel, problem, position))
        return dataclasses.replace(problem, stages=tuple(stages))

    def _position(self, given: GivenKernel, problem: Problem) -> int:
        if given.operator is None:
            if len(problem.positions) != 1:
                raise InputError(f"{given}: which layer? give operator, one of {_listed(problem.positions)}")
            return problem.positions[0]
        if given.operator not in problem.positions:
            raise InputError(f"{given}: no layer {given.operator}: there are {_listed(problem.positions)}")
        return given.operator


def _narrowed(stage: Stage, given: GivenKernel, problem: Problem, position: int) -> Stage:
    kept = tuple(each for each in stage.candidates if given.means(each))
    if kept:
        return dataclasses.replace(stage, candidates=kept)
    kind = problem.graph.operators[position].kind
    there = [each.plan for each in stage.candidates if each.plan is not fusion.DEFERRED]
    same = dict.fromkeys(plan.tile for plan in there if plan.family == given.family)
    if given.tile is not None and given.tile not in same and same:
        what = f"the tiles of {given.family} are {'; '.join(repr(tile) for tile in list(same)[:8])}"
    elif same:
        asked = [name for name in _CHOSEN if getattr(given, name) is not None]
        fewer = [name for name in asked if any(map(given.model_copy(update={name: None}).means, stage.candidates))]
        what = f"there is one with {any_of([f'another {name}' for name in fewer or asked])}"
    else:
        what = f"there are {', '.join(dict.fromkeys(plan.family for plan in there))}"
    raise InfeasibleError(f"layer {position}, {kind}: no kernel {given} computes it: {what}")


def _listed(positions: tuple[int, ...]) -> str:
    return ", ".join(map(str, positions[:20])) + (", ..." if len(positions) > 20 else "")
