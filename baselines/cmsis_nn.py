"""CMSIS-NN's 1x1 convolution of int8, from a checkout of the user's. Nothing of it is part of this project."""

from pathlib import Path

from memaopt.errors import InputError

SOURCES = (
    "Source/ConvolutionFunctions/arm_convolve_1x1_s8_fast.c",
    "Source/NNSupportFunctions/arm_nn_mat_mult_nt_t_s8.c",
)
INCLUDE = ("Include",)


def checked(folder: Path) -> Path:
    """The root of a checkout; InputError names the first file that it lacks."""
    for name in (*SOURCES, "Include/arm_nnfunctions.h"):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no checkout of CMSIS-NN: {name} is not there")
    return folder
