"""``python -m memaopt`` and the command ``memaopt``. Signals are taken before anything that takes time is imported."""

from memaopt import interrupts


def main() -> None:
    """Run the command line as a process of its own."""
    interrupts.take_signals()
    from memaopt.cli import main as cli

    cli.main()


if __name__ == "__main__":
    main()
