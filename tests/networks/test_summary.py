"""The rows of a network, against figures computed by hand."""

from __future__ import annotations

import pytest

from memaopt.networks import summary
from memaopt.networks.zoo import zoo

pytest.importorskip("ai_edge_litert")


def test_ds_cnn_by_hand() -> None:
    """Catches wrong MACs, bytes or words: DS-CNN's figures follow from its shapes."""
    result = summary.summarize(zoo.build("ds_cnn"))
    first, depthwise, pointwise = result.rows[:3]
    assert (first.kind, first.detail, first.macs) == ("CONV_2D", "10x4 /2 same relu", 125 * 64 * 40)
    assert (first.inputs, first.output) == (("int8[1,49,10,1]",), "int8[1,25,5,64]")
    assert first.weight_bytes == 64 * 40 + 4 * 64
    assert (depthwise.detail, depthwise.macs) == ("3x3 same relu", 125 * 64 * 9)
    assert (pointwise.kernel, pointwise.padding, pointwise.macs) == ((1, 1), (0, 0, 0, 0), 125 * 64 * 64)
    assert pointwise.quantization == "per channel"
    assert result.rows[-2].quantization == "per tensor"
    assert result.rows[-1].detail == "beta 1"
    assert result.macs == 125 * 64 * (40 + 4 * (9 + 64)) + 64 * 12
    assert result.weight_bytes == sum(row.weight_bytes for row in result.rows)
    assert result.inputs[0].startswith("input int8[1,49,10,1] scale 0.015625 zero point 0")


def test_mobilenet_v2_details() -> None:
    details = {row.kind: row.detail for row in summary.summarize(zoo.build("mobilenet_v2")).rows}
    assert details["PAD"] == "paddings [[0,0],[0,1],[0,1],[0,0]]"
    assert details["MEAN"] == "axes [1,2]"
