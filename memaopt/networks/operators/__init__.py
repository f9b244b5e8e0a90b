"""What a network is made of: one operator a file, with all that the rest of the house asks of it.

The names here are for code that makes operators or asks for one by its class; :mod:`.registry` finds them all.
"""

from memaopt.networks.operators.add import Add
from memaopt.networks.operators.addition import Addition
from memaopt.networks.operators.attributes import ONE, Activation, Bounds, Padding2D, Rounding, Size2D, Slice
from memaopt.networks.operators.average_pool_2d import AveragePool2D
from memaopt.networks.operators.batch_matmul import BatchMatmul
from memaopt.networks.operators.bounded import Bounded
from memaopt.networks.operators.concatenation import Concatenation
from memaopt.networks.operators.conv_2d import Conv2D
from memaopt.networks.operators.depthwise_conv_2d import DepthwiseConv2D
from memaopt.networks.operators.dequantize import Dequantize
from memaopt.networks.operators.elementwise import Elementwise
from memaopt.networks.operators.expand_dims import ExpandDims
from memaopt.networks.operators.fully_connected import FullyConnected
from memaopt.networks.operators.gather import Gather
from memaopt.networks.operators.gelu import Gelu
from memaopt.networks.operators.hard_swish import HardSwish
from memaopt.networks.operators.leaky_relu import LeakyRelu
from memaopt.networks.operators.logistic import Logistic
from memaopt.networks.operators.lookup import Lookup
from memaopt.networks.operators.max_pool_2d import MaxPool2D
from memaopt.networks.operators.mean import Mean
from memaopt.networks.operators.mul import Mul
from memaopt.networks.operators.operator import Lowered, Operator
from memaopt.networks.operators.pack import Pack
from memaopt.networks.operators.pad import Pad
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.quantize import Quantize
from memaopt.networks.operators.relu import Relu
from memaopt.networks.operators.relu6 import Relu6
from memaopt.networks.operators.reshape import Reshape
from memaopt.networks.operators.resize_nearest_neighbor import ResizeNearestNeighbor
from memaopt.networks.operators.rsqrt import Rsqrt
from memaopt.networks.operators.softmax import Softmax
from memaopt.networks.operators.squared_difference import SquaredDifference
from memaopt.networks.operators.squeeze import Squeeze
from memaopt.networks.operators.strided_slice import StridedSlice
from memaopt.networks.operators.sub import Sub
from memaopt.networks.operators.tanh import Tanh
from memaopt.networks.operators.transpose import Transpose
from memaopt.networks.operators.weighted import Mixing, Weighted
from memaopt.networks.operators.window import Windowed

__all__ = [
    "ONE", "Activation", "Add", "Addition", "AveragePool2D", "BatchMatmul", "Bounded", "Bounds", "Concatenation",
    "Conv2D", "DepthwiseConv2D", "Dequantize", "Elementwise", "ExpandDims", "FullyConnected", "Gather", "Gelu",
    "HardSwish", "LeakyRelu", "Logistic", "Lookup", "Lowered", "MaxPool2D", "Mean", "Mixing", "Mul", "Operator", "Pack",
    "Pad", "Padding2D", "Pairwise", "Quantize", "Relu", "Relu6", "Reshape", "ResizeNearestNeighbor", "Rounding",
    "Rsqrt", "Size2D", "Slice", "Softmax", "SquaredDifference", "Squeeze", "StridedSlice", "Sub", "Tanh", "Transpose",
    "Weighted", "Windowed",
]  # fmt: skip
