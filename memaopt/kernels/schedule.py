"""HOW a problem is computed: the schedule, and the space of all schedules that a certificate speaks about."""

from functools import cached_property
from itertools import permutations
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from memaopt.errors import InputError
from memaopt.inputs import Input, Size
from memaopt.kernels.gemm.families import BY_NAME, GemmFamily, RegisterTile, families, tiles
from memaopt.machines.mcu import Mcu
from memaopt.problems import objectives
from memaopt.problems.gemm import ACCUMULATOR_BYTES, DIMS, INDEXED_BY, OPERANDS, Dim, Gemm, Operand, placed
from memaopt.problems.words import BUFFERINGS as BUFFERINGS
from memaopt.problems.words import Buffering as Buffering
from memaopt.problems.words import Objective as Objective
from memaopt.spelling import option

Order = tuple[Dim, Dim, Dim]
Level = Annotated[int, Field(strict=True, ge=0, le=4)]
#: The hold levels of A, B and C.
Hold = tuple[Level, Level, Level]
Code = Literal["flash", "ram"]

ORDERS: tuple[Order, ...] = tuple((a, b, c) for a, b, c in permutations(DIMS))

#: An operand's tile is its part of one block; deeper, it has none and moves straight to or from the registers.
BLOCK_LEVEL, REGISTER_LEVEL = 3, 4
#: Each operand's tile is its part of one block.
IN_BLOCKS: Hold = (BLOCK_LEVEL, BLOCK_LEVEL, BLOCK_LEVEL)
#: SRAM set aside for the stack of the emitted code and for aligning the tiles.
STACK_BYTES = 512
#: SRAM set aside for the emitted code where it runs from there.
CODE_BYTES = 8 << 10


class BlockLoops(Input):
    """Loop order over SRAM blocks of MC x KC x NC, outermost first.

    ``hold`` is the hold level of A, B and C (:mod:`memaopt.models.walks`), 3 for operands that are not staged.
    With ``turning`` the loop in the middle runs there and back by turns (:mod:`memaopt.models.turning`).
    ``streamed`` operands are read by the kernel where they live, without a tile in SRAM; ``code`` is where the
    emitted functions run from.
    """

    order: Order
    hold: Hold = IN_BLOCKS
    mc: Size
    kc: Size
    nc: Size
    turning: bool = False
    buffering: Buffering = "single"
    streamed: tuple[Operand, ...] = ()
    code: Code = "flash"

    @field_validator("order")
    @classmethod
    def _check_order(cls, order: Order) -> Order:
        if len({*order}) != len(DIMS):
            raise ValueError("each of the loops m, k and n is there once")
        return order


class Schedule(BlockLoops):
    """Loops over blocks, and the register kernel that computes each: ``kernel`` names a family, ``mr``, ``kr`` and
    ``nr`` are its register tile.
    """

    kernel: str
    mr: Size
    kr: Size
    nr: Size

    @property
    def family(self) -> GemmFamily:
        """The kernel family; InputError if there is none of that name."""
        if self.kernel not in BY_NAME:
            raise InputError(f"no kernel family {self.kernel!r}: there are {', '.join(BY_NAME)}")
        return BY_NAME[self.kernel]

    @property
    def tile(self) -> RegisterTile:
        """MR x KR x NR."""
        return RegisterTile(self.mr, self.kr, self.nr)

    @property
    def block(self) -> dict[Dim, int]:
        """MC, KC and NC by loop name."""
        return {"m": self.mc, "k": self.kc, "n": self.nc}

    @property
    def levels(self) -> dict[Operand, int]:
        """The hold level of each operand."""
        return dict(zip(OPERANDS, self.hold, strict=True))

    @property
    def held(self) -> tuple[str, ...]:
        """Hold levels other than those of one block, in a few letters: ``B0``, the whole of B; ``C4``, no tile of C."""
        return tuple(f"{x}{level}" for x, level in self.levels.items() if level != BLOCK_LEVEL)

    @property
    def holding(self) -> str:
        """The same in words, each after a comma."""

        def told(operand: Operand, level: int) -> str:
            if level == REGISTER_LEVEL:
                return f", {operand} straight {'from' if operand == 'C' else 'to'} registers"
            inside = " and ".join(d for d in self.order[level:] if d in INDEXED_BY[operand])
            return f", all {inside} of {operand} held" if inside else ""

        turning = f", {self.order[1]} there and back" if self.turning else ""
        return turning + "".join(told(x, level) for x, level in self.levels.items() if level != BLOCK_LEVEL)

    def __str__(self) -> str:
        loops = ">".join(self.order) + " turning" * self.turning + "".join(f" {told}" for told in self.held)
        extra = "".join(f", {x} streamed" for x in self.streamed) + (", code in RAM" if self.code == "ram" else "")
        return f"{loops} {self.mc}x{self.kc}x{self.nc} {self.kernel} {self.tile}{extra}"


class LayerSchedule(Input):
    """A kernel of the networks that computes an s8 product with constant weights whole, as the ``layer`` that it is.

    It reads B and writes C where they live. ``options`` tell its plans apart; ``code`` is where it runs from.
    """

    layer: Literal["Conv", "FullyConnected"]
    family: str
    tile: str
    options: tuple[tuple[str, int], ...]
    code: Code = "flash"

    @property
    def kernel(self) -> str:
        """What tables call it."""
        return self.family

    @property
    def what(self) -> str:
        """The layer in words."""
        return "1x1 convolution" if self.layer == "Conv" else "fully connected layer"

    def __str__(self) -> str:
        return f"{self.family} {self.tile} ({self.what}){', code in RAM' if self.code == 'ram' else ''}"


def _kind(schedule: object) -> str:
    layer = "layer" in schedule if isinstance(schedule, dict) else isinstance(schedule, LayerSchedule)
    return "(layer)" if layer else "(nest)"


AnySchedule = Annotated[
    Annotated[Schedule, Tag("(nest)")] | Annotated[LayerSchedule, Tag("(layer)")], Discriminator(_kind)
]


class Space(Input):
    """Every schedule that is allowed for a problem on a machine, and the objective that ranks them.

    With ``layers`` these are the layer kernels, else nests of blocks. A block is any MC <= M, KC <= K, NC <= N in any
    of the six loop orders, each staged operand held at any level, with the buffering given; where it ``may_turn``, the
    inner of two loops that run may do so; a kernel is any tile that any family of the dtype fits into the registers.
    Operands outside SRAM are staged in it, but for those that are ``streamed``. :func:`variants` has the spaces among
    which ``cycles`` and ``energy`` choose.
    """

    problem: Gemm
    machine: Mcu
    objective: Objective = "bytes"
    buffering: Buffering = "single"
    streamed: tuple[Operand, ...] = ()
    code: Code = "flash"
    layers: bool = False

    @cached_property
    def staged(self) -> frozenset[Operand]:
        """The operands that live outside SRAM and so pass through a tile in it."""
        placed = self.problem.placement
        outside = (operand for operand in OPERANDS if placed.of(operand) != self.machine.sram.name)
        return frozenset(outside) - frozenset(self.streamed)

    def tiled(self, schedule: Schedule) -> frozenset[Operand]:
        """The staged operands that have a tile in SRAM."""
        return frozenset(x for x in self.staged if schedule.levels[x] != REGISTER_LEVEL)

    @cached_property
    def capacity(self) -> int:
        """Bytes of SRAM left for tiles: all of it, less the operands that live there and the stack."""
        placed, sram = self.problem.placement, self.machine.sram
        resident = sum(self.problem.bytes_of(operand) for operand in OPERANDS if placed.of(operand) == sram.name)
        return min(sram.size, self._data_limit) - resident - STACK_BYTES

    @property
    def _data_limit(self) -> int:
        """Where data in SRAM must end so that code in RAM has its place: behind them, within what it can run from."""
        machine = self.machine
        if self.code == "flash":
            return machine.sram.size
        for alias in machine.aliases:
            if alias.name == machine.code_ram and alias.memory == machine.sram.name:
                return alias.offset + alias.size - CODE_BYTES
        return machine.sram.size - (CODE_BYTES if machine.code_ram == machine.sram.name else 0)

    @cached_property
    def copies(self) -> int:
        """Buffers for each staged tile."""
        return 2 if self.buffering == "double" else 1

    @property
    def may_turn(self) -> bool:
        """Whether nests whose middle loop runs there and back are in the space."""
        return self.objective == "bytes" and self.buffering == "single"

    @cached_property
    def kernels(self) -> tuple[tuple[GemmFamily, RegisterTile], ...]:
        """Every register kernel that fits the core's registers, in a fixed order."""
        core = self.machine.core
        return tuple(
            (family, tile)
            for family in families(self.problem.dtype)
            for tile in tiles(family.name, core.core_registers, core.fpu_registers)
        )

    @cached_property
    def may_spill(self) -> bool:
        """Whether C's partial sums, 4 bytes each, may leave SRAM: is there room beside C in its memory?"""
        problem = self.problem
        if "C" not in self.staged or problem.width == ACCUMULATOR_BYTES:
            return True
        home = self.machine.memory(problem.placement.c)
        held = sum(problem.bytes_of(x) for x in OPERANDS if problem.placement.of(x) == home.name)
        return held + problem.elements("C") * ACCUMULATOR_BYTES <= home.size

    @cached_property
    def code_waits(self) -> dict[tuple[str, RegisterTile], int]:
        """What the cost function has found that kernels wait for their code, so that each is looked at once."""
        return {}

    def variant(self, streamed: tuple[Operand, ...], code: Code, layers: bool = False) -> "Space":
        """This space with other operands streamed and the code elsewhere (made anew: a copy keeps what is cached)."""
        return Space(
            problem=self.problem,
            machine=self.machine,
            objective=self.objective,
            buffering=self.buffering,
            streamed=streamed,
            code=code,
            layers=layers,
        )

    def schedule(
        self,
        order: Order,
        hold: Hold,
        turning: bool,
        block: tuple[int, int, int],
        family: GemmFamily,
        tile: RegisterTile,
    ) -> Schedule:
        """The schedule of this space with these choices; ``block`` is MC, KC, NC."""
        mc, kc, nc = block
        return Schedule(
            order=order,
            hold=hold,
            mc=mc,
            kc=kc,
            nc=nc,
            turning=turning,
            buffering=self.buffering,
            streamed=self.streamed,
            code=self.code,
            kernel=family.name,
            mr=tile.mr,
            kr=tile.kr,
            nr=tile.nr,
        )


def variants(whole: Space) -> list[Space]:
    """The spaces to choose among: weights in flash staged or streamed, code in flash or, where the machine's setting
    gives it room, in RAM; and layer kernels, where the weights are constants.

    Only wait states tell the places apart, so under ``bytes`` they are as given.
    """
    constant = whole.problem.weights is not None
    if whole.objective == "bytes":
        return [whole, *([whole.variant((), whole.code, True)] if constant else [])]
    streams: list[tuple[Operand, ...]] = [()]
    # What is read in place crosses once a tile, which no weight of bytes would count.
    weights = objectives.weights_of(whole.objective)
    free = weights is None or not weights.byte_of(whole.problem.placement.a)
    if free and whole.machine.memory(whole.problem.placement.a).kind == "flash":
        streams.append(("A",))
    codes: tuple[Code, ...] = ("flash", "ram") if whole.machine.setting.code_in_ram >= CODE_BYTES else ("flash",)
    nests = [whole.variant(streamed, code) for streamed in streams for code in codes]
    return [*nests, *(whole.variant((), code, True) for code in codes if constant)]


def space(problem: Gemm, machine: Mcu, objective: str = "bytes", buffering: str = "single") -> Space:
    """The space of schedules for a problem, its placement decided; InputError if a word is unknown.

    Raises InfeasibleError if an operand does not fit its memory.
    """
    if machine.dma is not None:
        raise InputError(f"DMA of {machine.name}: it brings in constants of networks; blocks of a gemm the core copies")
    objective, weights = objectives.resolved(objective), objectives.weights_of(objectives.resolved(objective))
    if buffering not in BUFFERINGS:
        raise InputError(f"no buffering {buffering!r}: choose single or double")
    if weights is not None and (weights.energy or objectives.is_sum(objective)):
        machine.core.require_timing(f"objective {objective}")
    if weights is not None and weights.ram:
        raise InputError(f"{option('objective', objective)}: ram weighs a network's arena, and a gemm has none")
    for memory, _ in () if weights is None else weights.bytes:
        if machine.memory(memory).name == machine.sram.name:
            asked = option("objective", objective)
            raise InputError(f"{asked}: bytes of SRAM weigh networks; of a gemm give other memories")
    return Space(problem=placed(problem, machine), machine=machine, objective=objective, buffering=buffering)
