"""Machines: presets with sources, users' own files, sizes, and clear errors."""

import re

import pytest

from memaopt.errors import InputError
from memaopt.machines.mcu import Mcu, mcu, parse_size, preset_names

#: Chips that have no bus for an external memory, or a board without one.
_WITHOUT_A_BUS = {
    *("apollo3", "cc2652", "efr32mg12", "lpc54114", "max32660", "nrf52832", "ra4m1"),
    *("stm32f303", "stm32f411", "stm32wle5"),
}


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_complete_and_has_sources(name):
    """Catches a figure without a source, or a preset without external memory."""
    machine = mcu(name)
    assert machine.name == name
    assert machine.core.core_registers == 14
    assert machine.core.fpu_registers == (32 if machine.core.has_fpu else 0)
    assert any(m.kind == "external" for m in machine.memories) or name in _WITHOUT_A_BUS
    timed = machine.core.is_timed
    assert {"clock_hz", *(("fetch_queue_words", "power_mw") if timed else ("core",))} <= set(machine.sources)
    assert all(m.source for m in machine.memories)
    assert all(a.source for a in machine.aliases)
    assert all(m.accelerator.source for m in machine.memories if m.accelerator)
    assert machine.power_mw > 0 or not timed
    assert machine.has_wait_states


def test_the_machines_are_there():
    """Catches a preset that was not packaged."""
    nordic, others = ["nrf52832", "nrf52840", "nrf5340"], ["stm32f746", "stm32g474", "stm32l432", "stm32l476"]
    f4 = ["stm32f303", "stm32f407", "stm32f411", "stm32f429", "stm32f446", "stm32f469"]
    rest = ["apollo3", "atsamd51", "atsame54", "cc2652", "efr32mg12", "lpc54114", "max32660", "max32666"]
    stm32 = [*f4, *others, "stm32l4r5", "stm32l4s5", "stm32wb55", "stm32wle5"]
    assert preset_names() == [*rest, *nordic, "ra4m1", *stm32]
    assert mcu("STM32L4R5") == mcu("stm32l4r5")


def test_what_is_assumed_is_told():
    """Catches a figure without a document that is not called assumed: those that nobody has published."""
    for name in preset_names():
        machine = mcu(name)
        sources = [*machine.sources.values(), *(m.source for m in machine.memories)]
        assert all(
            re.search(
                r"assumed|[A-Z]{2}[A-Z0-9]*\d|[Dd]ata sheet|Specification|manual|TRM|MLPerf|fitted|\w\.(h|c|ld|dtsi)\b",
                s,
            )
            for s in sources
        )
    assert mcu("max32660").assumed == ("fetch_queue_words", "power_mw", "flash.accelerator", "sram")
    assert "flash" in mcu("max32666").assumed


def test_without_wait_states_nothing_waits():
    """Catches a memory that the ideal core still waits for."""
    for name in preset_names():
        ideal = mcu(name).with_wait_states(0)
        assert not ideal.has_wait_states
        assert [m.size for m in ideal.memories] == [m.size for m in mcu(name).memories]
        assert all(m.accelerator is None for m in ideal.memories)
    assert mcu("stm32l4r5").with_wait_states(3).memory("flash").first == 3
    assert mcu("stm32l4r5").with_wait_states(3).memory("qspi").first == mcu("stm32l4r5").memory("qspi").first
    with pytest.raises(InputError, match="-1 wait states"):
        mcu("stm32l4r5").with_wait_states(-1)


def test_sizes_can_be_overridden():
    """Catches an override that is lost, or that changes another memory."""
    machine = mcu("stm32l4r5").with_sizes(sram=16384)
    assert machine.sram.size == 16384
    assert machine.memory("flash") == mcu("stm32l4r5").memory("flash")
    with pytest.raises(InputError, match="has no memory 'ram'"):
        machine.with_sizes(ram=1)
    with pytest.raises(InputError, match="size"):
        machine.with_sizes(sram=0)


def test_regions_follow_their_memory():
    """Catches banks of a chip that are lost, or that reach beyond a memory that was made smaller."""
    sram = mcu("stm32l4r5").sram
    assert [(r.name, r.size >> 10) for r in sram.regions] == [("sram1", 192), ("sram2", 64), ("sram3", 384)]
    assert all(r.source for r in sram.regions)
    small = mcu("stm32l4r5").with_sizes(sram=0x3_4000).sram
    assert [(r.name, r.size) for r in small.regions] == [("sram1", 0x3_0000), ("sram2", 0x4000)]
    assert mcu("stm32l4r5").with_sizes(sram=0x1000).sram.regions[-1].end == 0x1000


@pytest.mark.parametrize(
    ("text", "size"),
    [("32KiB", 32768), ("1.5MiB", 1572864), ("4096", 4096), ("0x1000", 4096), ("64k", 65536), (" 2 MB ", 2097152)],
)
def test_sizes_as_people_write_them(text, size):
    """Catches a unit read wrongly."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1", "0", "3GiB", "KiB", "1e3"])
def test_what_is_no_size_is_refused(text):
    """Catches nonsense taken for a number."""
    with pytest.raises(InputError, match="is not a size"):
        parse_size(text)


#: Chips whose vendor's table was not found.
_WITHOUT_A_TABLE = {"apollo3", "max32666", "nrf5340"}


@pytest.mark.parametrize("name", preset_names())
def test_another_clock_has_the_wait_states_of_the_table(name):
    """Catches a table without a source, a step read wrongly, and a clock that leaves time or power as they were."""
    machine = mcu(name)
    flash, table, mhz = machine.memory("flash"), machine.memory("flash").waits_by_clock, machine.clock_hz / 1e6
    if table is None:
        assert machine.fixed_clock == (name not in _WITHOUT_A_TABLE)
        with pytest.raises(InputError, match="at no other clock" if machine.fixed_clock else "give them, as in"):
            machine.with_clock(1_000_000)
        return
    assert table.source
    for step in table.steps:
        there = machine.with_clock(round(step.mhz * 1e6))
        assert (there.memory("flash").first, there.memory("flash").next) == (step.wait_states, step.wait_states)
        assert (there.memory("flash").accelerator is None) == (step.wait_states == 0)
        assert there.power_mw == pytest.approx(machine.power_mw * step.mhz / mhz)
        assert f"{step.mhz:g} MHz" in there.title
        assert [m.first for m in there.memories if m.kind != "flash"] == [
            m.first for m in machine.memories if m.kind != "flash"
        ]
    assert machine.with_clock(machine.clock_hz) == machine
    assert machine.with_clock(machine.clock_hz // 2, flash.first).memory("flash") == flash.model_copy(
        update={"waits_by_clock": None}
    )
    with pytest.raises(InputError, match=f"wait states to {table.steps[-1].mhz:g} MHz"):
        machine.with_clock(round(table.steps[-1].mhz * 1e6) + 1)


GOOD = """
name = "mine"
title = "My machine"
clock_hz = 100_000_000
[[memories]]
name = "flash"
kind = "flash"
base = 0x0800_0000
size = 0x1_0000
writable = false
[[memories]]
name = "sram"
kind = "sram"
base = 0x2000_0000
size = 0x8000
"""


_FLASH = "size = 0x1_0000"


def test_a_users_own_machine(tmp_path):
    """Catches a field that a minimal machine should not need."""
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    machine = mcu(path)
    assert (machine.name, machine.sram.size, machine.has_wait_states) == ("mine", 0x8000, False)
    assert Mcu.model_validate(machine.model_dump()) == machine


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clock_hz = 100_000_000", "clock_hz = ", "not valid TOML.*line 4"),
        ("clock_hz = 100_000_000", "", "clock_hz: Field required"),
        ("clock_hz = 100_000_000", "clock_hz = 1\nspeed = 3", "speed is no field: there are name, title"),
        ("clock_hz = 100_000_000", 'clock_hz = 1\ncore = "banana"', "core: 'banana' is not known: there are cortex-m"),
        ("[[memories]]", '[[settings]]\nname="ram"\n[[memories]]', "a setting named 'stock' is needed"),
        ("[[memories]]", '[[settings]]\nname="stock"\n[[settings]]\nname="stock"\n[[memories]]', "same name"),
        ("[[memories]]", '[[settings]]\nname="a b"\n[[memories]]', "settings.0.name"),
        ("[[memories]]", '[[settings]]\nname="stock"\nprefech=true\n[[memories]]', "settings.0.prefech is no field"),
        (
            "[[memories]]",
            '[[settings]]\nname="stock"\n[[settings]]\nname="ram"\nprefetch=true\n[[memories]]',
            "prefetch is said in some, but not in all",
        ),
        ('kind = "sram"', 'kind = "ram"', "memories.1.kind"),
        (_FLASH, f"{_FLASH}\nwaits_by_clock = {{steps = [[50, 0], [40, 1]]}}", "40 MHz comes after 50 MHz"),
        (_FLASH, f"{_FLASH}\nwaits_by_clock = {{steps = [[50, 1], [100, 1]]}}", "1 wait states to 100 MHz are no more"),
        (
            _FLASH,
            f"{_FLASH}\nwaits_by_clock = {{steps = [[50, 0]]}}",
            "'flash': its waits_by_clock does not reach 100 MHz",
        ),
        (
            _FLASH,
            f"{_FLASH}\nwaits_by_clock = {{steps = [[50, 0], [100, 1]]}}",
            "has 1 wait states at 100 MHz, where it",
        ),
        (_FLASH, f"{_FLASH}\nwaits_by_clock = {{steps = [[50, -1]]}}", "memories.0.waits_by_clock.steps.0"),
        ('name = "sram"', 'name = "dram"', "a memory named 'sram' and of that kind is needed"),
        ("base = 0x2000_0000", "base = 0x0800_8000", "'flash' and 'sram' overlap"),
        ("[[memories]]", '[[areas]]\nname="a"\nbase=0x0800_1000\nsize=16\n[[memories]]', "'flash' and 'a' overlap"),
        ('name = "sram"', 'name = "flash"', "same name"),
        ("clock_hz = 100_000_000", 'clock_hz = 1\ncode_ram = "x"', "code_ram is 'x'"),
        ("clock_hz = 100_000_000", 'clock_hz = 1\ncode_ram = "flash"', "cannot be copied into and run from"),
        (
            "[[memories]]",
            '[[aliases]]\nname="a"\nmemory="x"\noffset=0\nbase=0\nsize=16\n[[memories]]',
            "alias 'a' is of 'x'",
        ),
        (
            "size = 0x1_0000",
            "size = 0x1_0000\naccelerator = {read_bytes = 12, line_bytes = 32}",
            "12 is not a power of two",
        ),
        (
            "size = 0x1_0000",
            "size = 0x1_0000\naccelerator = {read_bytes = 32, line_bytes = 16}",
            "a cache line is shorter",
        ),
        (
            "size = 0x1_0000",
            'size = 0x1_0000\nregions = [{name = "a", offset = 0, size = 16}, {name = "b", offset = 32, size = 16}]',
            "region 'b' of 'flash' starts at 0x20, not at 0x10",
        ),
        (
            "size = 0x1_0000",
            'size = 0x1_0000\nregions = [{name = "a", offset = 0, size = 16}]',
            "the regions of 'flash' are 0x10 bytes, not its 0x10000",
        ),
        (
            "size = 0x1_0000",
            'size = 0x1_0000\nregions = [{name = "a", offset = 0, size = 16}, {name = "a", offset = 16, size = 16}]',
            "two regions of 'flash' have the same name",
        ),
    ],
)
def test_bad_machine_is_one_line_with_file_and_place(tmp_path, old, new, message):
    """Catches tracebacks, and errors that do not say where."""
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        mcu(path)
    assert "\n" not in str(caught.value)
    assert re.search(r"bad\.toml", str(caught.value))


def test_unknown_machine_suggests_the_nearest(tmp_path):
    """Catches an unhelpful error for a typing mistake."""
    with pytest.raises(InputError, match=r"no microcontroller 'stm32l4r': did you mean stm32l4r5\?"):
        mcu("stm32l4r")
    with pytest.raises(InputError, match="No such file"):
        mcu(tmp_path / "none.toml")


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_in_stock_unless_asked_and_each_setting_has_a_source(name):
    """Catches a copy into RAM that nobody asked for, a setting without a source or that leaves something behind."""
    stock = mcu(name)
    assert stock.setting == stock.settings[0]
    assert stock.setting.name == "stock"
    assert (stock.setting.code_in_ram, stock.setting.constants_in_ram, stock.setting.turn_on) == (0, 0, ())
    for setting in stock.settings:
        machine = stock.in_setting(setting.name)
        assert setting.source
        assert machine == mcu(name, setting.name)
        assert machine.in_setting("stock") == stock
        accelerator = machine.memory("flash").accelerator
        assert accelerator.prefetch == setting.prefetch
        assert (accelerator.fetch_lines > 0) == setting.instruction_cache
    ram = stock.in_setting("ram").setting
    assert ram.code_in_ram > 0
    assert ram.constants_in_ram > 0


def test_settings_as_the_vendors_leave_them():
    """Catches prefetch on where STM32CubeL4 leaves it off, or off where STM32CubeF4 or the chip's reset turns it on."""
    on = {name for name in preset_names() if mcu(name).memory("flash").accelerator.prefetch}
    assert on == {"efr32mg12", "stm32f303", "stm32f407", "stm32f411", "stm32f429", "stm32f446", "stm32f469"}
    prefetching = mcu("stm32l4r5", "stock-prefetch")
    assert prefetching.memory("flash").accelerator.prefetch
    assert [bits.name for bits in prefetching.setting.turn_on] == ["FLASH->ACR, PRFTEN"]
    assert mcu("max32660").memory("flash").accelerator.fetch_lines == 0  # its SDK does not turn it on
    assert mcu("nrf52840", "reset").memory("flash").accelerator.fetch_lines == 0


def test_an_unknown_setting_names_those_there_are():
    """Catches a setting that is silently taken for another: the nRF52840 has no prefetch to turn on."""
    with pytest.raises(InputError, match="nrf52840 has no setting 'stock-prefetch': it has stock, reset, ram"):
        mcu("nrf52840", "stock-prefetch")


def test_budgets_of_ram_replace_the_settings():
    """Catches a budget that is lost, or that changes the other one."""
    machine = mcu("stm32l4r5").with_ram(code=4096)
    assert (machine.setting.name, machine.setting.code_in_ram, machine.setting.constants_in_ram) == ("stock", 4096, 0)
    assert machine.with_ram() == machine
    assert machine.in_setting("stock") == mcu("stm32l4r5")
    with pytest.raises(InputError, match="-1 bytes of RAM"):
        machine.with_ram(constants=-1)


def test_a_machine_without_settings_has_the_usual_two(tmp_path):
    """Catches a file of before settings that is refused, or whose accelerator is changed."""
    path = tmp_path / "mine.toml"
    accelerator = "accelerator = {read_bytes = 8, line_bytes = 8, prefetch = true}"
    path.write_text(GOOD.replace("size = 0x1_0000", f"size = 0x1_0000\n{accelerator}"))
    assert [setting.name for setting in mcu(path).settings] == ["stock", "ram"]
    assert mcu(path).memory("flash").accelerator.prefetch
    assert mcu(path, "ram").setting.constants_in_ram > mcu(path).sram.size
