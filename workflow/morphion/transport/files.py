"""Transport models in files of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morphion.config.load import block, read_yaml, validate
from morphion.config.transport import CoverageShell, DistanceTable, Transport
from morphion.errors import ConfigError, TransportError
from morphion.provenance import digest
from morphion.transport.table import read_table


def load_transport(path: Path | str | None) -> Transport:
    """Transport model in a YAML file, or the default one for None.

    A table's path is taken from the file's folder.

    Raises ConfigError naming the file and each wrong key, TransportError naming the line of a
    table that is wrong.
    """
    if path is None:
        return CoverageShell()
    path = Path(path)
    content = read_yaml(path)
    if "model" not in content:
        raise ConfigError(f"{path}: model is missing: 'coverage-shell' or 'table'")
    model = validate(Transport, content, source=str(path))
    if isinstance(model, DistanceTable):
        table = (path.parent / model.path).resolve()
        if not table.is_file():
            raise ConfigError(f"{path}: path: no file {table}")
        read_table(table)
        model = model.model_copy(update={"path": table})
    return model


def transport_record(model: Transport) -> dict[str, Any]:
    """A transport model as labels and networks remember it: its block with all defaults.

    A table is remembered by its file's name and ``digest``, a hash of its content, since a path
    means nothing on another machine. Raises TransportError if the table cannot be read.
    """
    if not isinstance(model, DistanceTable):
        return block(model)
    try:
        content = model.path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise TransportError(f"{model.path}: cannot be read ({error})") from error
    return {"model": model.model, "path": model.path.name, "digest": digest(content)}


def transport_differences(
    found: Mapping[str, Any], expected: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Parameters in which two records differ: name -> (value found, value expected).

    Keys that a record lacks have their defaults. Of different kinds of models only ``model`` is
    named; two tables are the same if their content is, whatever the files are called. Raises
    ConfigError for a record that is none.
    """
    one, other = (_resolved(record) for record in (found, expected))
    if one["model"] != other["model"]:
        return {"model": (one["model"], other["model"])}
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


def _resolved(record: Mapping[str, Any]) -> dict[str, Any]:
    if record.get("model") == "table":
        return {"model": "table", "table": record.get("digest", record.get("path"))}
    return block(validate(CoverageShell, dict(record), source="transport"))
