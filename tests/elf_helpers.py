"""Small firmwares for the tests of the command line: C with a vector table, assembly that faults, one that talks."""

from pathlib import Path

from board_helpers import MCU, function

from memaopt.board import build

_C = """
#include <stdint.h>
int32_t a[100], b[100], result;
float x[64] = {1.0f, 2.0f, 3.0f};
extern uint32_t image[];
int32_t dot(const int32_t *p, const int32_t *q, int32_t n);
float scale(float *p, int32_t n, float k);
int32_t apply(int32_t (*f)(const int32_t *, const int32_t *, int32_t), int32_t n);
int32_t sixth(int32_t p, int32_t q, int32_t r, int32_t s, int32_t t, int32_t u);
void reset(void);
int main(void);
__attribute__((section(".vectors"), used)) void *const vectors[2] = {(void *)0x20008000, (void *)reset};
__attribute__((noinline)) int32_t dot(const int32_t *p, const int32_t *q, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += p[i] * q[i];
    }
    return sum;
}
__attribute__((noinline)) float scale(float *p, int32_t n, float k)
{
    for (int32_t i = 0; i < n; i++) {
        p[i] *= k;
    }
    return n > 0 ? p[0] : k;
}
int32_t apply(int32_t (*f)(const int32_t *, const int32_t *, int32_t), int32_t n) { return f(a, b, n); }
int32_t sixth(int32_t p, int32_t q, int32_t r, int32_t s, int32_t t, int32_t u)
{
    return p - p + q - q + r - r + s - s + t - t + u;
}
void reset(void)
{
    for (int32_t i = 0; i < 100; i++) {
        a[i] = i;
        b[i] = 2 * i;
    }
    result = dot(a, b, 100);
    (void)main();
}
int main(void)
{
    for (;;) {
    }
}
"""

#: A loop whose cycles can be counted by hand, one function for each fault, one that never ends.
_ASSEMBLY = {
    "count": "1: ldr r2,[r1]\n adds r2,#1\n str r2,[r1]\n subs r0,#1\n bne 1b\n bx lr",
    "load_outside": "nop\n ldr r1,[r0]\n bx lr",
    "store_flash": "nop\n str r1,[r0]\n bx lr",
    "unaligned_pair": "nop\n ldrd r1,r2,[r0]\n bx lr",
    "undefined": "nop\n udf #0",
    "breakpoint": "nop\n bkpt #1",
    "jump": "nop\n bx r0",
    "divide": "nop\n sdiv r0,r0,r1\n bx lr",
    "deep": "nop\n push {r0-r7,lr}\n bl deep\n pop {r0-r7,pc}",
    "hang": "nop\n b .",
    "forever": "nop\n1: adds r0,#1\n b 1b",
}


def firmware(folder: Path) -> Path:
    """``folder/firmware.elf``, built for the STM32L4R5."""
    (folder / "firmware.c").write_text(_C)
    text = "".join(function(name, body) for name, body in _ASSEMBLY.items())
    (folder / "faults.s").write_text(f".syntax unified\n.thumb\n.cpu cortex-m4\n.fpu fpv4-sp-d16\n.text\n{text}\n")
    sources = [folder / "firmware.c", folder / "faults.s"]
    return build(sources, folder / "firmware.elf", MCU, optimise="-O2").elf


def talking(folder: Path, code: int) -> Path:
    """A program that prints a line by semihosting, with what a terminal would obey, and exits with ``code``."""
    text = f""".section .vectors,"a"
.word 0x20008000, reset
.text
{function("reset", "movs r0,#4; ldr r1,=line; bkpt #0xab; movs r0,#0x20; ldr r1,=end; bkpt #0xab; .ltorg")}
.section .rodata
.balign 4
end: .word 0x20026, {code}
line: .asciz "took 7 cycles \\033[31m\\n"
"""
    (folder / "talking.s").write_text(f".syntax unified\n.thumb\n.cpu cortex-m4\n.text\n{text}\n")
    return build([folder / "talking.s"], folder / "talking.elf", MCU).elf
