"""Reading and writing configuration files."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from yaml.error import MarkedYAMLError

from morphion.config.base import plain_path
from morphion.config.root import Config
from morphion.config.transport import DistanceTable
from morphion.errors import ConfigError
from morphion.files import atomic_file

Model = TypeVar("Model")


def load_config(path: Path | str) -> Config:
    """Configuration in a YAML file; raises ConfigError naming the file and each wrong key."""
    return parse_config(read_yaml(path), source=str(path), folder=Path(path).parent)


def parse_config(
    content: Mapping[str, Any], *, source: str, folder: Path, files: Sequence[Path] = ()
) -> Config:
    """Configuration from parsed YAML, put together from ``files`` if it was.

    ``source`` is what an error message calls it; relative paths of a transport table and a packed
    data set are taken from the folder of the last of ``files`` that names them, or from
    ``folder``, and made absolute, so that a dumped configuration works from anywhere.
    """
    for file in files:
        read_yaml(file)  # whoever put them together may not have minded a key that is there twice
    config = validate(Config, content, source=source)
    if config.labelled is not None:
        labelled = _existing(config.labelled, source, "labelled", folder, files)
        config = config.model_copy(update={"labelled": labelled})
    if isinstance(config.transport, DistanceTable):
        table = _existing(config.transport.path, source, "transport.path", folder, files)
        transport = config.transport.model_copy(update={"path": table})
        config = config.model_copy(update={"transport": transport})
    return config


def _existing(path: Path, source: str, key: str, folder: Path, files: Sequence[Path]) -> Path:
    """The absolute path; raises ConfigError if no file is there, or shells would not take it."""
    naming = [file for file in files if _has(read_yaml(file), key)]
    path = ((naming[-1].parent if naming else folder) / path).resolve()
    if not path.is_file():
        raise ConfigError(f"{source}: {key}: no file {path}")
    try:
        return plain_path(path)
    except ValueError as error:
        raise ConfigError(f"{source}: {key}: {error}") from None


def _has(content: Any, key: str) -> bool:
    first, _, rest = key.partition(".")
    there = isinstance(content, dict) and first in content
    return there and (not rest or _has(content[first], rest))


def dump_config(config: Config, path: Path | str) -> None:
    """Write a configuration with all its defaults as YAML."""
    with atomic_file(path) as scratch:
        scratch.write_text(yaml.safe_dump(block(config), sort_keys=False))


def require_not_its_source(config: Config, path: Path | str, files: Iterable[Path]) -> None:
    """Raise ConfigError if ``dump_config`` would change one of the files that a configuration was
    read from, but by keys that have come since a run wrote it."""
    path = Path(path)
    for file in files:
        if file.resolve() != path.resolve():
            continue
        content = read_yaml(file)
        by_a_run = yaml.safe_dump(content, sort_keys=False) == file.read_text()
        if not by_a_run or load_config(file) != config:
            raise ConfigError(
                f"{file}: a run writes its configuration there, with all defaults and what the "
                f"command line changes; keep yours under another name or outside {path.parent}"
            )


def block(model: BaseModel) -> dict[str, Any]:
    """A block as plain JSON-like values, for YAML files, provenance and digests."""
    return model.model_dump(mode="json")


def trained(network: BaseModel) -> dict[str, Any]:
    """What a network's training depends on in its block: not on how many ranks or which machine,
    nor on a key that came later and says what was done before there was one."""
    described = block(network)
    training = described["training"]
    for name in ("ranks", "needs_gpu_above"):
        training.pop(name, None)
    if training.get("validate_every") == 1:
        del training["validate_every"]
    return described


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file; raises ConfigError if it is missing or is something else."""
    try:
        text = Path(path).read_text()
        content = yaml.safe_load(text)
        _require_keys_once(yaml.compose(text, Loader=yaml.SafeLoader))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 ({error.reason})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise ConfigError(f"{path}{where}: not valid YAML ({problem})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, found {type(content).__name__}")
    return content


def _require_keys_once(node: yaml.Node | None) -> None:
    """Raise MarkedYAMLError for a key that its mapping has twice: YAML would take the last."""
    todo, seen = [node], set()
    while todo:
        node = todo.pop()
        if node in seen:  # by an alias
            continue
        seen.add(node)
        if isinstance(node, yaml.MappingNode):
            keys = [(key.tag, str(key.value)) for key, _ in node.value]
            for place, (key, _) in enumerate(node.value):
                if keys[place] in keys[:place]:
                    problem = f"the key {key.value} is there twice"
                    raise MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            todo += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value


def validate(
    model: type[Model] | Any,
    content: Any,
    *,
    source: str,
    names: Mapping[str, str] | None = None,
) -> Model:
    """Validate content against a model or annotated type; ConfigError lists every wrong key.

    ``names`` are what the user knows keys by, where that is something else.
    """
    known = names or {}
    try:
        return TypeAdapter(model).validate_python(content)
    except ValidationError as error:
        lines = [
            f"{'.'.join(known.get(k, str(k)) for k in _keys_to(e, content)) or 'configuration'}: "
            + _what_is_wrong(e, model)
            for e in error.errors()
        ]
        raise ConfigError(f"{source}: " + "; ".join(lines)) from None


def _keys_to(error: Mapping[str, Any], content: Any) -> list[str | int]:
    """Keys of a configuration file that lead to an error, whose own place in pydantic also counts
    which of several models was taken, by its ``kind`` or ``model``."""
    keys: list[str | int] = []
    for key in error["loc"]:
        within = content if isinstance(content, Mapping) else {}
        if key not in within and key in (within.get("kind"), within.get("model")):
            continue
        keys.append(key)
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            content = None
    return keys


def _what_is_wrong(error: Mapping[str, Any], model: Any) -> str:
    """An error of pydantic's in words of a configuration file."""
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), _keys(TypeAdapter(model).json_schema()), 1)
        return "no such key" + (f"; is {near[0]} meant?" if near else "")
    if error["type"] == "union_tag_not_found":
        return f"{error['ctx']['discriminator']} is missing, which says what kind this is"
    if error["type"] == "union_tag_invalid":
        there = error["ctx"]["expected_tags"].replace("'", "")
        return f"there is no {error['ctx']['tag']}; expected one of {there}"
    found = f" (found {error['input']!r})" if not isinstance(error["input"], dict) else ""
    return error["msg"].removeprefix("Value error, ") + found


def _keys(schema: Any) -> set[str]:
    """Names of all keys in a JSON schema."""
    if isinstance(schema, list):
        return set().union(*map(_keys, schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties")
    names = set(own) if isinstance(own, dict) else set()
    return names.union(*map(_keys, schema.values()))
