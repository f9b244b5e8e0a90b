"""A DMA channel on the board: when words arrive, who is counted, and what a program must not do meanwhile."""

import pytest
from board_helpers import compile_c

from memaopt.board import Board
from memaopt.errors import FaultError
from memaopt.kernels.text.helpers import with_helpers
from memaopt.machines.mcu import mcu
from memaopt.models.transfers import transfer_cycles
from memaopt.models.waits import timing

MACHINE = mcu("stm32l4r5", dma=True)
DMA = MACHINE.dma
assert DMA is not None

_MACROS = {
    "CHANNEL": DMA.channel, "START": DMA.start, "RUNNING": DMA.running, "STATUS": DMA.status, "CLEAR": DMA.clear,
    "DONE": DMA.done,
}  # fmt: skip
_CODE = """
__attribute__((section(".qspi"))) const int32_t source[256] = {1, 2, 3, 4, [99] = 7, [255] = 9};
int32_t target[256];

void on(void) { *(volatile uint32_t *)CLOCK |= 1u; }
int32_t copied(int32_t n) { dma_start(target, source, n); dma_wait(target, source, n); return target[n - 1]; }
int32_t early(int32_t n) { dma_start(target, source, n); return *(volatile int32_t *)&target[n - 1]; }
int32_t beside(int32_t n) { dma_start(target, source, n); return *(volatile int32_t *)&target[n]; }
int32_t twice(int32_t n) { dma_start(target, source, n); dma_start(target + 128, source, n); return 0; }
int32_t bytes(int32_t n)
{
    *(volatile uint32_t *)(CHANNEL + 4u) = (uint32_t)n;
    *(volatile uint32_t *)CHANNEL = 1u;
    return 0;
}
int32_t reading(int32_t n)
{
    dma_start(target, source, n);
    for (int32_t i = 0; i < 20; i++) (void)*(const volatile int32_t *)&source[200];
    dma_wait(target, source, n);
    return target[n - 1];
}
""".replace("CLOCK", f"{DMA.clock:#x}u").replace("CHANNEL", f"{DMA.channel:#x}u")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """The program on a machine with its DMA, whose clock is still off."""
    macros = "".join(f"#define MEMAOPT_DMA_{name} {value:#x}u\n" for name, value in _MACROS.items())
    return compile_c(tmp_path_factory.mktemp("dma"), macros + with_helpers(_CODE), MACHINE)


def test_a_transfer_takes_its_cycles_and_is_counted(board: Board) -> None:
    """Catches words that arrive at once, another price than the models have, accesses that nobody is charged with, a
    memory that two read at no cost; and, while the controller has no clock, a wait that never ends."""
    off = board.call("copied", 100)
    assert (off.r0, off.dma_bytes, off.accesses("source").loads) == (7, 0, 100)
    board.call("on")
    short, long = (board.call("copied", n) for n in (100, 256))
    assert (short.r0, long.r0) == (7, 9)
    assert (long.dma_bytes, long.accesses("source").load_bytes, long.accesses("target").stores) == (1024, 1024, 256)
    assert long.memories["qspi"].loads == 256
    outside = timing(MACHINE, MACHINE.memory("qspi")).outside
    assert outside is not None
    expected = transfer_cycles(256, outside) - transfer_cycles(100, outside)
    assert abs(long.cycles - short.cycles - expected) < 40  # a turn of the loop that waits
    qspi, reading = MACHINE.memory("qspi"), board.call("reading", 256)
    assert reading.r0 == 9
    assert reading.data_stalls >= 20 * qspi.first
    assert abs(reading.cycles - long.cycles - 20 * (2 * qspi.first - qspi.next)) < 20
    assert board.call("beside", 100).r0 == 0


@pytest.mark.parametrize(
    ("function", "said"),
    [("early", "nobody has waited for"), ("twice", "its channel is written while"), ("bytes", "no transfer of words")],
)
def test_what_a_program_must_not_do(board: Board, function: str, said: str) -> None:
    """Catches a target that is read before it has arrived, which on the chip has the old words; a channel that is
    written meanwhile; and a transfer that the board would make up."""
    board.call("on")
    with pytest.raises(FaultError, match=said):
        board.call(function, 100)


def test_no_dma_unless_asked_for(board: Board) -> None:
    """Catches a controller on a machine that was not asked for with one."""
    image, _ = board._loaded()
    plain = Board(mcu("stm32l4r5")).load(image)
    plain.call("on")
    with pytest.raises(FaultError, match="still running"):
        plain.call("copied", 100, max_instructions=10_000)
