"""A virtual Cortex-M4 board: build a program, run it, count its accesses and cycles."""

from memaopt.board.board import Board
from memaopt.board.build import Build, Compiler, build, find_compiler
from memaopt.board.results import Access, Run
from memaopt.board.timing import Timing

__all__ = ["Access", "Board", "Build", "Compiler", "Run", "Timing", "build", "find_compiler"]
