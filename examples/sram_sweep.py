"""How much SRAM is worth having: one matrix product with all operands in external memory, certified at each size.

Run it with ``python examples/sram_sweep.py``; it needs only the base install. The traffic falls in steps towards the
compulsory bytes, and below a certain size there is no schedule at all; the error says which size that is.
"""

from memaopt import Gemm, InfeasibleError, Placement, certify, mcu


def main() -> None:
    """Print external traffic and its lower bound for a range of SRAM sizes."""
    problem = Gemm(m=64, k=576, n=64, dtype="q15", placement=Placement(a="qspi", b="qspi", c="qspi"))
    machine = mcu("stm32l4r5")
    print(f"gemm {problem.name} {problem.dtype}, A, B and C in qspi")
    print("    SRAM   bytes moved   lower bound   SRAM block    loops")
    for kib in (0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256):
        size = int(kib * 1024)
        try:
            certificate = certify(problem, machine.with_sizes(sram=size))
        except InfeasibleError as error:
            print(f"{size:>8,}   {error}")
            continue
        schedule, moved = certificate.schedule, certificate.traffic.external_bytes
        block = f"{schedule.mc}x{schedule.kc}x{schedule.nc}"
        loops = " > ".join(schedule.order)
        print(f"{size:>8,} {moved:>13,} {certificate.bounds.external_bytes:>13,}   {block:<12}  {loops}")


if __name__ == "__main__":
    main()
