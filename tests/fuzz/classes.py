"""The classes of the bench, by name."""

from collections.abc import Callable

from tests.fuzz.bench import Class
from tests.fuzz.certificates import GemmCertificates, NetworkCertificates
from tests.fuzz.elfs import Elfs
from tests.fuzz.machines import Machines, Problems
from tests.fuzz.networks import BoardNetworks, HostNetworks
from tests.fuzz.onnx_files import OnnxFiles
from tests.fuzz.streams import Streams
from tests.fuzz.tflite import Files
from tests.fuzz.writing import Writing

CLASSES: dict[str, Callable[[], Class]] = {
    kind.name: kind
    for kind in (
        HostNetworks,
        BoardNetworks,
        Streams,
        Files,
        OnnxFiles,
        NetworkCertificates,
        GemmCertificates,
        Elfs,
        Machines,
        Problems,
        Writing,
    )
}
