"""The configuration: pydantic models, the single source of defaults, documentation and schema."""

from morphion.config.load import dump_config, load_config, parse_config
from morphion.config.root import Config

__all__ = ["Config", "dump_config", "load_config", "parse_config"]
