"""Why the rounding of a network's layers is exact, in words: of a chain, layer by layer in it."""

from __future__ import annotations

from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.kernels.registry import CHAINS
from memaopt.printable import counted
from memaopt.problems.layers import LayerChain


def why_exact(plan: NetworkPlan) -> str:
    """Why the rounding of a plan's layers is exact, and of how many."""
    said = [text for layer in plan.layers for text in roundings(layer)]
    proven = sum(text.startswith("proven") for text in said)
    rest = len(said) - proven
    text = f"proven for every accumulator in {counted(proven, 'layer')}"
    return text + (f", the reference's own arithmetic in {rest}" if rest else "")


def roundings(layer: LayerPlan) -> list[str]:
    """Why its rounding is exact, a text for each layer in it that rounds: in a chain there may be several."""
    chain = layer.lowered.layer
    plans = CHAINS.parts(chain, layer.plan) if isinstance(chain, LayerChain) else (layer.plan,)
    return [plan.requantization for plan in plans if plan.requantization]
