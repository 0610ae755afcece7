"""A table or figure of the report: what it is made from, and by which function."""

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphion.config import Config

HISTORY = "/history.csv"  # of a training, in its model folder


@dataclass(frozen=True)
class Artifact:
    """A table or figure.

    ``function`` is ``module:name`` below ``morphion.analysis``; it is called with ``inputs``, with
    the configuration if ``configured``, and with ``output``. An input is a path, or a list or
    mapping of paths, or a value that is no path (``values``). ``threads`` are for what is timed,
    which should not share its machine, or takes long. ``depends`` is what the content follows from
    in the configuration beside the values.
    """

    title: str
    category: str
    function: str
    inputs: dict[str, Any]
    configured: bool = False
    values: tuple[str, ...] = ()
    threads: int = 1
    depends: Any = None

    @property
    def settings(self) -> list[Any]:
        """All but files that a change of the configuration may change."""
        return [{name: self.inputs[name] for name in self.values}, self.depends]

    def paths(self) -> list[str]:
        """What other rules make of the inputs: files, stores and model folders."""
        given = (value for name, value in self.inputs.items() if name not in self.values)
        return [
            os.path.dirname(path) if path.endswith(HISTORY) else path
            for value in given
            for path in _flat(value)
        ]

    def make(self, config: Config, output: Path) -> None:
        """Write the artifact."""
        module, name = self.function.split(":")
        function: Callable = getattr(importlib.import_module(f"morphion.analysis.{module}"), name)
        configured = {"config": config} if self.configured else {}
        function(**_as_paths(self.inputs, self.values), **configured, output=output)


def _flat(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value


def _as_paths(inputs: dict[str, Any], values: tuple[str, ...]) -> dict[str, Any]:
    def convert(value):
        if isinstance(value, dict):
            return {key: convert(item) for key, item in value.items()}
        if isinstance(value, list):
            return [convert(item) for item in value]
        return None if value is None else Path(value)

    return {name: v if name in values else convert(v) for name, v in inputs.items()}
