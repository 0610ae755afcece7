"""Configurations are complete, refuse what they do not know, and match their schema."""

import json
from pathlib import Path

import pytest
import yaml

from morphion.config import Config, dump_config, load_config, parse_config
from morphion.config.load import block, read_yaml
from morphion.config.schema import reference_text, schema_text
from morphion.errors import ConfigError
from morphion.plan import Plan

CONFIGS = Path(__file__).parents[3] / "config"


def parse(**keys) -> Config:
    return parse_config({"output": "out", **keys}, source="test.yaml", folder=Path())


def test_the_committed_schema_is_the_models_schema():
    committed = (CONFIGS / "schema.json").read_text()
    assert committed == schema_text(), "run: morphion config schema > config/schema.json"
    json.loads(committed)


def test_the_committed_reference_is_the_models_reference():
    committed = (CONFIGS.parent / "docs/configuration.md").read_text()
    assert committed == reference_text(), "run: morphion config reference > docs/configuration.md"


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_shipped_configurations_are_valid_and_survive_a_round_trip(tmp_path, name):
    config = load_config(CONFIGS / f"{name}.yaml")
    dump_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_paper_configuration_has_the_papers_numbers():
    config = load_config(CONFIGS / "paper.yaml")
    assert config.structures.count == 8192
    assert config.geometry.diameter == pytest.approx(9.602432, abs=1e-6)
    assert [config.geometry.particles_at(phi) for phi in config.loadings] == [137, 46]
    assert (config.anneal.maximise.select, config.anneal.minimise.select) == (5000, 2280)
    assert (config.anneal.maximise.cycles, config.anneal.minimise.cycles) == (50, 100)
    plan = Plan(config)
    assert plan.structures_in("round1") == 7280
    assert plan.structures_in("loading-0.15") == 3094
    assert len(plan.shards("round0")) == 32


def test_demo_configuration_keeps_the_papers_geometry():
    demo, paper = (load_config(CONFIGS / f"{name}.yaml") for name in ("demo", "paper"))
    assert demo.geometry == paper.geometry
    assert demo.transport == paper.transport
    assert 100 <= demo.structures.count <= 140


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sed": 1}, r"test.yaml: sed: no such key; is seed meant\?"),
        ({"seed": True}, r"seed is a number, not true"),
        ({"output": ""}, r"output: .*is empty; name a folder"),
        ({"transport": {"affinity": 5}}, r"transport: 'model' is missing, which says what kind"),
        ({"labels": {"lattice": 8}}, r"labels.lattice: .*greater than or equal to 16"),
        ({"labels": {"max_hops": float("inf")}}, r"labels.max_hops: .*finite number"),
        (
            {"transport": {"model": "coverage-shell", "affinity": float("nan")}},
            r"affinity: .*finite number",
        ),
        ({"geometry": {"volume_fraction": 0.5}}, r"geometry.volume_fraction: .*less than 0.38"),
        (
            {"structures": {"chain_windows": [[9.0, 10.0]]}},
            r"chain_windows\[0\] = \[9.0, 10.0\] starts below the sphere diameter 9.6024",
        ),
        (
            {"structures": {"chain_windows": [[12.0, 11.0]]}},
            r"chain_windows\[0\] = \[12.0, 11.0\]: the first value must be the smaller",
        ),
        ({"split": [0.6, 0.3, 0.3]}, r"sums to 1.2, not 1"),
        (
            {"surrogates": {"networks": {"g": {"kind": "graph", "cutoff": 1.5}}, "driver": "g"}},
            r"networks\.g.* near = 1\.85 is beyond cutoff = 1\.5",
        ),
        ({"surrogates": {"driver": "magic"}}, r"driver = 'magic' is none of"),
        (
            {"surrogates": {"networks": {"mine": {"kind": "graph"}}}},
            r"driver = 'resistor', the default, is none of \['mine'\]",
        ),
        (
            {"transport": {"model": "tabel"}},
            r"transport: there is no tabel; .* coverage-shell, table",
        ),
        (
            {
                "surrogates": {
                    "networks": {"graph": {"kind": "graph", "training": {"max_epoch": 3}}}
                }
            },
            r"surrogates\.networks\.graph\.training\.max_epoch: no such key; is max_epochs meant",
        ),
        (
            {"surrogates": {"networks": {"g": {"kind": "graphs"}}}},
            r"networks\.g: there is no graphs; expected one of paper, periodic, .* graph, trees",
        ),
        ({"transport": {"model": "table", "path": "no.csv"}}, r"transport.path: no file .*no.csv"),
        (
            {"labels": {"lattice": 75, "control_variate": 75}},
            r"labels: .*control_variate = 75 must be below lattice = 75",
        ),
        (
            {"labels": {"control_variate": 20}},
            r"control_variate = 20: no site spans a ligand shell 2.69 thick .* at least 28 sites",
        ),
        (
            {"labels": {"method": "exact", "control_variate": 75}},
            r"labels: .*control_variate = 75 is for method: kmc",
        ),
        ({"loadings": [0.15, 0.15]}, r"names a volume fraction twice"),
    ],
)
def test_wrong_keys_are_named_with_what_would_be_right(keys, message):
    with pytest.raises(ConfigError, match=message):
        parse(**keys)


def test_windows_of_chains_that_are_not_made_are_free():
    parse(geometry={"volume_fraction": 0.12}, structures={"chain": 0})
    with pytest.raises(ConfigError, match=r"chain_windows\[0\]"):
        parse(geometry={"volume_fraction": 0.12})


def test_files_that_are_no_configuration_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(ConfigError, match=r"list.yaml: expected a mapping of keys, found list"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"broken.yaml, line 1: not valid YAML"):
        load_config(tmp_path / "broken.yaml")


def test_a_relative_table_is_taken_from_the_configuration_folder(tmp_path):
    (tmp_path / "table.csv").write_text("")
    content = {"output": "out", "transport": {"model": "table", "path": "table.csv"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    assert load_config(tmp_path / "run.yaml").transport.path == tmp_path / "table.csv"


def test_paths_are_taken_from_the_folder_of_the_last_file_that_names_them(tmp_path):
    for folder in ("data", "run", "here"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "table.csv").write_text("")
    table = {"transport": {"model": "table", "path": "table.csv"}}
    first, last = tmp_path / "data/run.yaml", tmp_path / "run/mine.yaml"
    first.write_text(yaml.safe_dump({"output": "out", **table}))
    last.write_text("output: out\ntransport: {model: table}\n")

    def path(*files):
        content = {"output": "out", **table}
        where = {"source": "test", "folder": tmp_path / "here", "files": files}
        return parse_config(content, **where).transport.path

    assert path(first, last) == tmp_path / "data/table.csv"
    assert path(last) == tmp_path / "here/table.csv"  # as on a command line
    last.write_text(first.read_text())
    assert path(first, last) == tmp_path / "run/table.csv"


@pytest.mark.parametrize("output", ["$SCRATCH/run", "~/run", "my run", "a;b"])
def test_an_output_that_a_shell_would_read_otherwise_is_refused(output):
    with pytest.raises(ConfigError, match=r"output: .* is no path that shells take as it is"):
        parse(output=output)


def test_a_table_whose_path_a_shell_would_part_is_refused(tmp_path):
    (tmp_path / "my tables").mkdir()
    (tmp_path / "my tables/t.csv").write_text("")
    with pytest.raises(
        ConfigError, match=r"transport\.path: .*my tables.* no path that shells take"
    ):
        parse_config(
            {"output": "out", "transport": {"model": "table", "path": "my tables/t.csv"}},
            source="test",
            folder=tmp_path,
        )


def test_a_seed_beyond_the_stores_integers_is_refused():
    with pytest.raises(ConfigError, match="seed: Input should be less than 9223372036854775808"):
        parse(seed=2**63)


def test_labels_depend_on_the_keys_of_their_method_alone():
    def decisive(**keys):
        return parse(labels=keys).labels.decisive()

    assert decisive(max_hops=1e9) != decisive() == decisive(relative_residual=1e-3)
    exact = {"method": "exact", "lattice": 75}
    assert decisive(**exact, max_hops=1e9, target_relative_error=0.1) == decisive(**exact)
    assert decisive(**exact, relative_residual=1e-3) != decisive(**exact)


def test_every_documented_key_has_a_description():
    def undescribed(schema):
        for name, field in schema.get("properties", {}).items():
            if "$ref" not in field and "description" not in field and "const" not in field:
                yield name

    schema = Config.model_json_schema()
    missing = set(undescribed(schema))
    for definition in schema["$defs"].values():
        missing |= set(undescribed(definition))
    assert not missing


def test_a_block_is_plain_json():
    assert json.loads(json.dumps(block(parse()))) == block(parse())


@pytest.mark.parametrize("nested", [False, True])
def test_a_key_that_is_there_twice_is_refused(tmp_path, nested):
    """YAML would take the last, whatever the first says, and a lattice be another."""
    path = tmp_path / "run.yaml"
    path.write_text(
        "output: out\nlabels:\n  lattice: 75\n  lattice: 150\n"
        if nested
        else "output: out\nlabels: {lattice: 75}\nlabels: {method: exact}\n"
    )
    message = rf"run\.yaml, line {4 if nested else 3}: .*the key l\w+ is there twice"
    with pytest.raises(ConfigError, match=message):
        load_config(path)
    with pytest.raises(ConfigError, match=message):
        parse_config({"output": "out"}, source="run.yaml", folder=tmp_path, files=[path])


def test_an_alias_is_no_second_key(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("output: out\nloadings: &l [0.15, 0.05]\nsplit: [0.6, 0.2, 0.2]\n")
    assert load_config(path).loadings == (0.15, 0.05)
    path.write_text("a: &a {b: 1}\nc: *a\nd: *a\n")
    assert read_yaml(path) == {name: {"b": 1} for name in "acd"}
