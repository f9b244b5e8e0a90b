"""What native code needs from outside numba: Unicorn's C functions, and pointers made of addresses."""

# Numba compiles these functions; to mypy they are untyped.
# mypy: ignore-errors

import ctypes

import numpy as np
from llvmlite import binding as llvm
from numba import carray, njit, types
from numba.extending import intrinsic
from unicorn.unicorn_py3.unicorn import uclib

from memaopt.board.layout import PAGE, STATE

# By name, so that the machine code in numba's cache holds no address of this process.
llvm.add_symbol("memaopt_uc_reg_read", ctypes.cast(uclib.uc_reg_read, ctypes.c_void_p).value)
llvm.add_symbol("memaopt_uc_emu_stop", ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value)
_reg_read = types.ExternalFunction("memaopt_uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr))
emu_stop = types.ExternalFunction("memaopt_uc_emu_stop", types.int32(types.voidptr))

_REGISTER = STATE.fields["register"][1]


@intrinsic
def pointer(context, address):
    """The address, an integer, as a C pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.uint64), generate


@njit
def register(uc, s, number):
    """A core register by Unicorn's number."""
    s.register = np.uint64(0)
    _reg_read(uc, np.int32(number), pointer(s.here + np.uint64(_REGISTER)))
    return s.register & np.uint64(0xFFFFFFFF)


@njit
def row_at(s, address):
    """The number of the row decoded for an address, 0 if there is none."""
    pages = carray(pointer(s.code_pages), (1 << 20,), np.uint32)
    rows = carray(pointer(s.code_map), (1 << 40,), np.uint32)
    page = np.uint64(pages[address >> np.uint64(12)])
    return np.int64(rows[page * np.uint64(PAGE // 2) + ((address & np.uint64(PAGE - 1)) >> np.uint64(1))])


@njit
def forget_row(s, address, width):
    """Drop what was decoded where a store changes code: it is decoded again when it is next executed."""
    pages = carray(pointer(s.code_pages), (1 << 20,), np.uint32)
    rows = carray(pointer(s.code_map), (1 << 40,), np.uint32)
    # An instruction that begins a halfword earlier may reach into the bytes stored.
    at = (address & ~np.uint64(1)) - np.uint64(2)
    while at < address + width:
        page = np.uint64(pages[(at >> np.uint64(12)) & np.uint64(0xFFFFF)])
        if page:
            rows[page * np.uint64(PAGE // 2) + ((at & np.uint64(PAGE - 1)) >> np.uint64(1))] = 0
        at += np.uint64(2)


@njit
def buffer_at(s, address):
    """The number of the buffer that holds a byte, 0 if nothing is mapped there."""
    pages = carray(pointer(s.data_pages), (1 << 20,), np.uint32)
    buffers = carray(pointer(s.data_map), (1 << 40,), np.uint16)
    page = np.uint64(pages[address >> np.uint64(12)])
    return np.uint64(buffers[page * np.uint64(PAGE) + (address & np.uint64(PAGE - 1))])
