"""DETECTION_POSTPROCESS in portable C. Every access is made whatever the values are: boxes that are gone are looked at
like others, so that a call takes what is promised, and about as long every time."""

from memaopt.access import Access, loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.elementwise.floats import float_text
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.detection import Detection

#: Of a box: its corners by tables, or with exponentials; of a score, of a box among those to choose from, of one that
#: may be taken away, of a box that goes out and of each of its classes: fitted to counts of 44 layers (GCC 12.2 -O3).
_CORNERS, _EXPONENTIALS = Compiled(300, 654), Compiled(900, 7800)
_SCORE, _CHOICE, _AWAY = Compiled(30, 15.4), Compiled(40, 23), Compiled(160, 76)
_OUT, _CLASS = Compiled(100, 20), Compiled(60, 40)
#: Bytes of its code at most (`tests/kernels/test_frames.py`).
_MOST_CODE = 4096
#: Bytes of its stack beside the arrays.
_FRAME = 200


class PortableDetection:
    """Any sizes."""

    name = "detection"
    computes = Detection

    def plans(self, layer: Detection) -> tuple[Plan, ...]:
        n, grade = layer.boxes, layer.score_values is not None
        boxes, scores = (each.dtype == "int8" for each in layer.takes)
        read = layer.classes * n + (0 if layer.regular else layer.classes * layer.most)
        turns = layer.rounds * (layer.classes if layer.regular else 1)
        again = (layer.rounds - 1) * (layer.classes if layer.regular else 1)
        times = layer.classes if layer.regular else 1
        parameters = (
            loads(4 * n, 4) + (loads(8 * n, 4) if boxes else Access()) + (loads(read, 4) if grade else Access())
        )
        scratch = stores(4 * n, 4) + (stores(n, 4) + stores(n, 1)).times(times)
        scratch += (loads(n, 1) + loads(n, 4)).times(turns) + loads(4 * (again if layer.regular else turns), 4)
        scratch += (loads(4 * n, 4) + loads(n, 1) + stores(n, 1)).times(again)
        scratch += loads(4 * layer.slots, 4) if layer.regular else Access()
        corners = _CORNERS if boxes else _EXPONENTIALS
        code: tuple[Node, ...] = (
            *around.entry(),
            Loop((piece(corners),), n),
            Loop((piece(_SCORE),), read),
            Loop((piece(_OUT), Loop((piece(_CHOICE),), n)), turns),
            Loop((Loop((piece(_AWAY),), n),), again),
            Loop((piece(_CLASS),), layer.slots),
        )
        arrays = 8 * layer.classes if not layer.regular else 12 * layer.most
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise(
                    (loads(4 * n, 1 if boxes else 4), loads(read, 1 if scores else 4)),
                    stores(6 * layer.slots + 1, 4),
                    parameters,
                    scratch,
                ),
                data_bytes=data_bytes(_arrays(layer, "")),
                code_bytes=_MOST_CODE,
                code=code,
                scratch_bytes=21 * n,
                stack_bytes=_FRAME + arrays,
                alignment=8,
                words=False,
                requantization="LiteRT's own arithmetic, in float",
            ),
        )

    def emit(self, layer: Detection, plan: Plan, name: str) -> Emitted:
        types = ["int8_t" if each.dtype == "int8" else "float" for each in layer.takes]
        kind = "each class by itself" if layer.regular else "all classes together"
        title = f"DETECTION_POSTPROCESS: {layer.most} of {layer.boxes} boxes of {layer.classes} classes, {kind}"
        same = layer.box_values is not None and layer.scales[0] == layer.scales[1]
        square = layer.box_values is not None and layer.scales[2] == layer.scales[3]
        return emitted(
            f"void {name}(const {types[0]} *in0, const {types[1]} *in1, int8_t *out, void *scratch)",
            plan,
            title,
            "kernels/detection/detection.c.j2",
            arrays=_arrays(layer, name),
            layer=layer,
            places=("y", "y" if same else "x"),
            halves=("h", "h" if square else "w"),
            scales=[float_text(scale) + "f" for scale in layer.scales],
            score_threshold=float_text(layer.score_threshold) + "f",
            overlap_threshold=float_text(layer.overlap_threshold) + "f",
        )


def _arrays(layer: Detection, name: str) -> list[Array]:
    made = [Array("float", f"{name}_anchors", layer.anchors, "centres y, x, heights and widths")]
    if layer.box_values is not None:
        (y, x), (h, w) = layer.centres, layer.halves
        made.append(Array("double", f"{name}_y", y, "of each byte, what it is of an anchor's height"))
        if layer.scales[0] != layer.scales[1]:
            made.append(Array("double", f"{name}_x", x, "likewise of its width"))
        made.append(Array("double", f"{name}_h", h, "of each byte, half a height of so many anchors'"))
        if layer.scales[2] != layer.scales[3]:
            made.append(Array("double", f"{name}_w", w, "likewise of a width"))
    if layer.score_values is not None:
        made.append(Array("float", f"{name}_scores", layer.score_values, "of each byte, the score"))
    return made


FAMILIES = (PortableDetection(),)
