"""A virtual Cortex-M board: build a program, run it, count its accesses and cycles."""

from memaopt.access import Access
from memaopt.board.board import Board
from memaopt.board.build import Build, Compiler, build, find_compiler
from memaopt.board.cores.cortex_m4 import Timing
from memaopt.board.profile import Profile
from memaopt.board.results import Run, known
from memaopt.machines.energy import Energy

__all__ = [
    "Access",
    "Board",
    "Build",
    "Compiler",
    "Energy",
    "Profile",
    "Run",
    "Timing",
    "build",
    "find_compiler",
    "known",
]
