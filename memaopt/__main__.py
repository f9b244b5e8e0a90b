"""``python -m memaopt``."""

from memaopt.cli import main

if __name__ == "__main__":
    main()
