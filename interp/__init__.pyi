from interp.encoders.layout import HeadLayout as HeadLayout
from interp.errors import InputError as InputError

__version__: str
_HOME: dict[str, str]

__all__ = [
    "HeadLayout",
    "InputError",
    "__version__",
]
