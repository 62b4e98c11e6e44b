"""Auricle: name what is heard in a recording, with spectrogram transformers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auricle.inference import Classifier, load_model

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__", "load_model"]


def __getattr__(name: str) -> Any:
    """Import the public names on first use: `import auricle` does not wait for torch."""
    if name in ("Classifier", "load_model"):
        from auricle import inference

        return getattr(inference, name)
    raise AttributeError(f"module 'auricle' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
