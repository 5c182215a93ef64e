from interp.encoders.encoder import Encoder as Encoder
from interp.encoders.family import Family as Family
from interp.encoders.layout import HeadLayout as HeadLayout
from interp.encoders.loading import load_encoder as load_encoder
from interp.encoders.readout import Decomposition as Decomposition
from interp.encoders.recorder import HeadRecorder as HeadRecorder
from interp.errors import InputError as InputError
from interp.features.extract import extract as extract
from interp.features.store import FeatureStore as FeatureStore
from interp.images.equalize import Equalize as Equalize
from interp.images.image_set import ImageSet as ImageSet
from interp.images.preprocess import Preprocessing as Preprocessing
from interp.protocol.splits import Protocol as Protocol

__version__: str
_HOME: dict[str, str]

__all__ = [
    "Decomposition",
    "Encoder",
    "Equalize",
    "Family",
    "FeatureStore",
    "HeadLayout",
    "HeadRecorder",
    "ImageSet",
    "InputError",
    "Preprocessing",
    "Protocol",
    "__version__",
    "extract",
    "load_encoder",
]
