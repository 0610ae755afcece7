"""Networks that predict D* from a structure: training, prediction, scores."""

import importlib

_HOME = {
    "Surrogate": "morphion.surrogates.predict",
    "predict_dataset": "morphion.surrogates.predict",
    "train": "morphion.surrogates.stage",
}
__all__ = ["Surrogate", "predict_dataset", "train"]


def __getattr__(name: str):
    # The scores are used by commands that would otherwise wait seconds for torch.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
