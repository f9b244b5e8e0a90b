"""Networks as PyTorch's users write them, in the styles of `tests/keras_models`, on small inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Made = tuple[nn.Module, tuple[int, ...]]
MODELS: dict[str, Callable[[], Made]] = {}


def model(*shape: int) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Put a function that builds a model, of inputs of a shape, on the list."""

    def put(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        MODELS[build.__name__] = lambda: (build(), shape)
        return build

    return put


class Of(nn.Module):
    """A module of parts, and a function of them."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self._function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *given: Tensor) -> Any:
        return self._function(self, *given)


def _conv(i: int, o: int, k: int = 3, s: int = 1, act: Callable[[], nn.Module] | None = nn.ReLU, **more: Any) -> Any:
    layers = [nn.Conv2d(i, o, k, s, k // 2, bias=False, **more), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


def _ended(channels: int, classes: int = 5) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


@model(1, 12, 12)
def dense_digits() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 10))


@model(3, 20, 20)
def tutorial_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(108, 10),
    )


@model(3, 16, 16)
def batch_normalised() -> nn.Module:
    return nn.Sequential(_conv(3, 8), _conv(8, 12, s=2), _ended(12))


@model(3, 16, 16)
def normalised_before() -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), _ended(8)
    )


@model(3, 16, 16)
def activations() -> nn.Module:
    acts = [
        nn.LeakyReLU(0.1),
        nn.ELU(),
        nn.Hardswish(),
        nn.SiLU(),
        nn.GELU(),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.Mish(),
        nn.ReLU6(),
    ]
    return nn.Sequential(nn.Conv2d(3, 6, 3), *[m for a in acts for m in (a, nn.Conv2d(6, 6, 1))], _ended(6))


@model(3, 16, 16)
def parametric() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.PReLU(), nn.Conv2d(6, 6, 3), nn.PReLU(6), nn.Conv2d(6, 6, 1), _ended(6))


@model(3, 16, 16)
def pools() -> nn.Module:
    return nn.Sequential(
        _conv(3, 6),
        nn.AvgPool2d(2),
        _conv(6, 8),
        nn.AvgPool2d(3, 2, 1),
        nn.MaxPool2d(3, 1, 1),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(8, 3),
        nn.Softmax(-1),
    )


@model(3, 16, 16)
def residual() -> nn.Module:
    block = _conv(8, 8)
    return Of(
        lambda m, x: m.end(torch.relu(m.second(m.first(y := m.stem(x))) + y)),
        stem=_conv(3, 8),
        first=block,
        second=_conv(8, 8, act=None),
        end=_ended(8),
    )


@model(3, 16, 16)
def densely_connected() -> nn.Module:
    def grown(i: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, 4, 3, padding=1))

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        for part in (m.a, m.b):
            x = torch.cat([x, part(x)], 1)
        result: Tensor = m.end(x)
        return result

    return Of(forward, stem=nn.Conv2d(3, 6, 3, padding=1), a=grown(6), b=grown(10), end=_ended(14))


@model(3, 32, 32)
def mobilenet_v2() -> nn.Module:
    def block(i: int, o: int, s: int) -> nn.Module:
        wide = 3 * i
        parts = [
            _conv(i, wide, 1, act=nn.ReLU6),
            _conv(wide, wide, 3, s, nn.ReLU6, groups=wide),
            _conv(wide, o, 1, act=None),
        ]
        whole = nn.Sequential(*parts)
        return Of(lambda m, x: m.whole(x) + x, whole=whole) if s == 1 and i == o else whole

    stem = _conv(3, 4, 3, 2, nn.ReLU6)
    return nn.Sequential(
        stem, block(4, 4, 1), block(4, 6, 2), block(6, 6, 1), _conv(6, 16, 1, act=nn.ReLU6), _ended(16)
    )


@model(3, 32, 32)
def mobilenet_v3() -> nn.Module:
    def gated(c: int) -> nn.Module:
        squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c // 4, 1), nn.ReLU(), nn.Conv2d(c // 4, c, 1), nn.Hardsigmoid()
        )
        return Of(lambda m, x: x * m.squeeze(x), squeeze=squeeze)

    return nn.Sequential(
        _conv(3, 4, 3, 2, nn.Hardswish),
        _conv(4, 16, 1, act=nn.Hardswish),
        _conv(16, 16, 5, 2, nn.Hardswish, groups=16),
        gated(16),
        _conv(16, 8, 1, act=None),
        _conv(8, 16, 1, act=nn.Hardswish),
        _ended(16),
    )


@model(3, 16, 16)
def shuffled_channels() -> nn.Module:
    return nn.Sequential(
        _conv(3, 8, s=2), nn.Conv2d(8, 8, 1, groups=2), nn.ChannelShuffle(2), _conv(8, 8, groups=8), _ended(8)
    )


@model(1, 16, 16)
def unet_transposed() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        first = m.a(x)
        second = m.b(m.pool(first))
        x = m.c(m.pool(second))
        x = m.d(torch.cat([m.up(x), second], 1))
        result: Tensor = m.end(m.e(torch.cat([m.more(x), first], 1)))
        return result

    return Of(
        forward,
        pool=nn.MaxPool2d(2),
        a=_conv(1, 6),
        b=_conv(6, 8),
        c=_conv(8, 12),
        up=nn.ConvTranspose2d(12, 8, 2, 2),
        d=_conv(16, 8),
        more=nn.ConvTranspose2d(8, 6, 3, 2, 1, 1),
        e=_conv(12, 6),
        end=nn.Conv2d(6, 2, 1),
    )


@model(1, 16, 16)
def unet_nearest() -> nn.Module:
    return Of(
        lambda m, x: m.end(torch.cat([m.up(m.b(m.pool(y := m.a(x)))), y], 1)),
        a=_conv(1, 6),
        pool=nn.MaxPool2d(2),
        b=_conv(6, 8),
        up=nn.Upsample(scale_factor=2),
        end=nn.Conv2d(14, 2, 1),
    )


@model(1, 16, 16)
def unet_bilinear() -> nn.Module:
    return Of(
        lambda m, x: m.end(torch.cat([m.up(m.b(m.pool(y := m.a(x)))), y], 1)),
        a=_conv(1, 6),
        pool=nn.MaxPool2d(2),
        b=_conv(6, 8),
        up=nn.Upsample(scale_factor=2, mode="bilinear"),
        end=nn.Conv2d(14, 2, 1),
    )


@model(1, 12, 12)
def super_resolution() -> nn.Module:
    return nn.Sequential(_conv(1, 8, 5), nn.Conv2d(8, 4, 3, padding=1), nn.PixelShuffle(2))


@model(1, 16, 16)
def autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 1, 4, 2, 1),
        nn.Sigmoid(),
    )


@model(3, 24, 24)
def two_heads() -> nn.Module:
    return Of(
        lambda m, x: (m.boxes(y := m.body(x)).flatten(2), torch.sigmoid(m.classes(y)).flatten(2)),
        body=nn.Sequential(_conv(3, 6, s=2), _conv(6, 8, s=2)),
        boxes=nn.Conv2d(8, 4, 3, padding=1),
        classes=nn.Conv2d(8, 3, 1),
    )


@model(10, 32)
def keyword_conv1d() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(10, 12, 3, padding=1),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(12, 12, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(12, 6),
    )


@model(6, 24)
def causal_and_dilated() -> nn.Module:
    return Of(
        lambda m, x: m.end((torch.relu(m.b(m.pad(y := m.a(x)))) + y)[..., -1]),
        a=nn.Conv1d(6, 8, 1),
        pad=nn.ConstantPad1d((4, 0), 0.0),
        b=nn.Conv1d(8, 8, 3, dilation=2),
        end=nn.Linear(8, 3),
    )


@model(16, 4)
def transposed_conv1d() -> nn.Module:
    return nn.Sequential(nn.Conv1d(16, 6, 3, padding=1), nn.ReLU(), nn.ConvTranspose1d(6, 4, 4, 2, 1))


@model(8, 8)
def transformer() -> nn.Module:
    return nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0), nn.Flatten(), nn.Linear(64, 3)
    )


@model(8, 8)
def attention() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.q(x), m.k(x), m.v(x)
        weights = torch.softmax(q @ k.transpose(1, 2) * 0.35, -1)
        result: Tensor = m.end(torch.flatten(weights @ v, 1))
        return result

    return Of(forward, q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 8), end=nn.Linear(64, 3))


@model(6, 4)
def lstm() -> nn.Module:
    return Of(lambda m, x: m.end(m.cells(x)[0][:, -1]), cells=nn.LSTM(4, 5, batch_first=True), end=nn.Linear(5, 3))


@model(6, 4)
def gru() -> nn.Module:
    return Of(lambda m, x: m.end(m.cells(x)[0][:, -1]), cells=nn.GRU(4, 5, batch_first=True), end=nn.Linear(5, 3))


def _steps(m: Any, x: Tensor) -> Tensor:
    """A cell, step by step."""
    state = None
    for step in range(x.shape[1]):
        state = m.cell(x[:, step], state)
    result: Tensor = m.end(state if isinstance(state, Tensor) else state[0])
    return result


@model(5, 4)
def gru_cells() -> nn.Module:
    return Of(_steps, cell=nn.GRUCell(4, 5), end=nn.Linear(5, 3))


@model(5, 4)
def lstm_cells() -> nn.Module:
    return Of(_steps, cell=nn.LSTMCell(4, 5), end=nn.Linear(5, 3))
