"""Scales in double: a compiler that contracts a product and a sum into one rounding would change what TFLite gives."""

from __future__ import annotations

import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from memaopt.kernels.text import helpers

INCLUDE = Path(helpers.__file__).parent / "include"
#: What must not be contracted, and what shows that it would be: the product less the part before the point.
_SOURCE = f"""
#include "{INCLUDE / "fixed_point.h"}"
int32_t rounded(int32_t x, double scale);
__attribute__((noinline)) double contracted(int32_t x, double scale, double whole);
int32_t rounded(int32_t x, double scale) {{ return rescale_in_double(x, scale); }}
double contracted(int32_t x, double scale, double whole) {{ return (double)x * scale - whole; }}
"""
_MAIN = """
#include <stdio.h>
int main(void)
{
    int x;
    double scale, whole;
    while (scanf("%d %lf %lf", &x, &scale, &whole) == 3) {
        printf("%d %d\\n", (int)rounded(x, scale), contracted(x, scale, whole) >= 0.5);
    }
    return 0;
}
"""
_FAST = ["-std=c11", "-O3", "-ffp-contract=fast", "-Wno-unused-function"]


def _ties(count: int) -> list[tuple[int, float, int]]:
    """Accumulators and scales whose product is a tie in double, and less where its part before the point is taken
    from it before it is rounded; that part."""
    rng, found = np.random.default_rng(1), list[tuple[int, float, int]]()
    while len(found) < count:
        x, whole = int(rng.integers(1 << 20, 1 << 31)), int(rng.integers(1, 200))
        scale = float((whole + 0.5) / x)
        if x * scale == whole + 0.5 and float(Fraction(x) * Fraction(scale) - whole) < 0.5:
            found.append((x, scale, whole))
    return found


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_product_is_rounded_before_it_is_compared(compiler: str, tmp_path: Path) -> None:
    """Catches a form of rescale_in_double that a compiler may contract, on products which then round the other way."""
    if shutil.which(compiler) is None or " fma " not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"needs {compiler} and a processor that contracts")
    source, program = tmp_path / "double.c", tmp_path / "double"
    source.write_text(_SOURCE + _MAIN)
    subprocess.run([compiler, *_FAST, "-mfma", str(source), "-o", str(program)], check=True)
    cases = _ties(300)
    text = "".join(f"{x} {scale:.17g} {whole}\n{-x} {scale:.17g} {-whole}\n" for x, scale, whole in cases)
    run = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    lines = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
    assert [rounded for rounded, _ in lines] == [part for _, _, whole in cases for part in (whole + 1, -whole - 1)]
    # The compiler does contract what it may, and then a tie is none.
    assert not any(tie for _, tie in lines[::2])


def test_no_product_is_added_to_anything() -> None:
    """Catches a sum or a difference of the product, which compilers may contract though these do not: it has another
    use."""
    text = (INCLUDE / "fixed_point.h").read_text()
    body = text[text.index("rescale_in_double(int32_t x, double scale)\n{") :]
    body = body[: body.index("\n}")]
    (product,) = re.findall(r"const double (\w+) = \(double\)x \* scale;", body)
    assert body.count("*") == 1
    assert not re.search(rf"[-+]\s*{product}\b|\b{product}\s*[-+]", body)


def test_a_core_with_doubles_contracts_nothing(tmp_path: Path) -> None:
    """Catches a fused instruction in rescale_in_double on a Cortex-M7 whose FPU has them in double precision."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs arm-none-eabi-gcc")
    source, made = tmp_path / "double.c", tmp_path / "double.s"
    source.write_text(_SOURCE)
    core = ["-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard"]
    subprocess.run(["arm-none-eabi-gcc", *core, *_FAST, "-S", str(source), "-o", str(made)], check=True)
    functions = dict(re.findall(r"^(rounded|contracted):$(.*?)^\s*\.size", made.read_text(), re.MULTILINE | re.DOTALL))
    fused = re.compile(r"\bvfn?m[as]\.f64\b")
    assert fused.search(functions["contracted"])
    assert "vmul.f64" in functions["rounded"]
    assert not fused.search(functions["rounded"])
