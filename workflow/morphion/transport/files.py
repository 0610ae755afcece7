"""Transport models in files of their own."""

from pathlib import Path

from morphion.config.load import read_yaml, validate
from morphion.config.transport import CoverageShell, DistanceTable, Transport
from morphion.errors import ConfigError
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
