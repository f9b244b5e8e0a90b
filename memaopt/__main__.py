"""``python -m memaopt`` and the command ``memaopt``. Signals are taken before anything that takes time is imported."""

import gc

from memaopt import interrupts

#: Objects made between two looks for circles of them: there are hardly any, and each look takes time.
_COLLECTED_AFTER = 1_000_000


def main() -> None:
    """Run the command line as a process of its own."""
    interrupts.take_signals()
    gc.set_threshold(_COLLECTED_AFTER)
    from memaopt.cli import main as cli

    try:
        cli.main()
    finally:
        # As it ends Python looks for circles once more, in all that there is: as long as a tenth of the work took.
        gc.freeze()


if __name__ == "__main__":
    main()
