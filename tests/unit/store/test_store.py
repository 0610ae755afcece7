"""A store appears whole or not at all, opens elsewhere, and notices any change."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from morphion import provenance, store
from morphion.errors import MorphionError, StoreError
from morphion.files import require_writable

EDGE = 9


@pytest.fixture
def data() -> xr.Dataset:
    random = np.random.default_rng(1)
    return xr.Dataset(
        {
            "family": ("structure", np.array(["rsa", "chain", "gapped"], dtype=object)),
            "diffusivity": ("structure", random.random(3), {"units": "solvent"}),
            "converged": ("structure", np.array([True, False, True])),
        },
        attrs={"box_length": 75.0},
    )


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(2).random((3, EDGE, EDGE, EDGE)) > 0.5


def write(path, data, images=None):
    streams = {}
    if images is not None:
        streams["voxels"] = store.Stream(
            ("structure", "z", "y", "x"),
            images.shape,
            "bool",
            (1, EDGE, EDGE, EDGE),
            (2, EDGE, EDGE, EDGE),
            iter([images[:2], images[2:]]),
        )
    record = provenance.record({"a": 1}, seed=3)
    store.write(path, data, kind="dataset", provenance=record, streams=streams)


def test_what_is_written_is_read_back(tmp_path, data, images):
    write(tmp_path / "s.zarr", data, images)
    read = store.load(tmp_path / "s.zarr", kind="dataset")
    xr.testing.assert_equal(read, data)
    assert read.diffusivity.attrs == {"units": "solvent"}
    assert read.attrs["provenance"]["seed"] == 3
    lazy = store.open_lazy(tmp_path / "s.zarr", kind="dataset")
    np.testing.assert_array_equal(lazy["voxels"][1], images[1])


@pytest.mark.filterwarnings("error")
def test_xarray_opens_a_store_without_options_or_warnings(tmp_path, data, images):
    write(tmp_path / "s.zarr", data, images)
    opened = xr.open_zarr(tmp_path / "s.zarr")
    assert opened.voxels.dims == ("structure", "z", "y", "x")
    assert opened.diffusivity.attrs["units"] == "solvent"
    assert opened.family.values.tolist() == ["rsa", "chain", "gapped"]


def test_reading_one_image_touches_one_shard_file(tmp_path, data, images):
    write(tmp_path / "s.zarr", data, images)
    files = sorted((tmp_path / "s.zarr/voxels/c").rglob("*"))
    assert sum(file.is_file() for file in files) == 2  # three images, two to a shard
    shutil.rmtree(tmp_path / "s.zarr/voxels/c/0")
    lazy = store.open_lazy(tmp_path / "s.zarr", kind="dataset")
    np.testing.assert_array_equal(lazy["voxels"][2], images[2])


def test_a_store_without_structures_is_legal(tmp_path, data, images):
    none = slice(0, 0)
    write(tmp_path / "s.zarr", data.isel(structure=none))
    assert store.load(tmp_path / "s.zarr", kind="dataset").sizes["structure"] == 0


def test_an_interrupted_write_leaves_the_earlier_store_alone(tmp_path, data, images):
    path = tmp_path / "s.zarr"
    write(path, data)

    def broken():
        yield images[:2]
        raise KeyboardInterrupt

    stream = store.Stream(
        ("structure", "z", "y", "x"), images.shape, "bool", (1, 9, 9, 9), None, broken()
    )
    with pytest.raises(KeyboardInterrupt):
        store.write(path, data * 2, kind="dataset", provenance={}, streams={"voxels": stream})
    xr.testing.assert_equal(store.load(path, kind="dataset"), data)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.zarr"]


def test_too_few_streamed_blocks_are_refused(tmp_path, data, images):
    stream = store.Stream(
        ("structure", "z", "y", "x"), images.shape, "bool", (1, 9, 9, 9), None, iter([images[:2]])
    )
    with pytest.raises(StoreError, match="2 of 3 entries along structure"):
        store.write(
            tmp_path / "s.zarr", data, kind="dataset", provenance={}, streams={"voxels": stream}
        )
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize("array", ["diffusivity", "family", "converged", "voxels"])
def test_an_altered_array_is_noticed(tmp_path, data, images, array):
    path = tmp_path / "s.zarr"
    write(path, data, images)
    target = zarr.open_group(path, mode="r+")[array]
    target[0] = {"family": "other", "diffusivity": 5.0}.get(array, False)
    if array == "voxels":
        target[0] = ~images[0]
    with pytest.raises(StoreError, match=rf"s\.zarr.*'{array}'.*make the store again"):
        store.verify(path)


@pytest.mark.parametrize("size", [0, 10])
def test_a_truncated_chunk_is_noticed(tmp_path, data, size):
    path = tmp_path / "s.zarr"
    write(path, data)
    chunk = path / "diffusivity/c/0"
    chunk.write_bytes(chunk.read_bytes()[:size])
    with pytest.raises(StoreError, match="'diffusivity' cannot be decoded"):
        store.load(path, kind="dataset")


def test_a_missing_chunk_is_noticed(tmp_path, data):
    path = tmp_path / "s.zarr"
    write(path, data)
    (path / "diffusivity/c/0").unlink()
    with pytest.raises(StoreError, match="'diffusivity' differs from what was written"):
        store.load(path, kind="dataset")


def test_another_kind_is_refused(tmp_path, data):
    write(tmp_path / "s.zarr", data)
    with pytest.raises(StoreError, match="kind 'dataset', expected 'labels'"):
        store.load(tmp_path / "s.zarr", kind="labels")


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"nowhere\.zarr: does not exist"):
        store.load(tmp_path / "nowhere.zarr", kind="labels")


def test_finished_chunks_survive_and_a_changed_identity_sees_none_of_them(tmp_path):
    output = tmp_path / "labels.zarr"
    first = store.Partial(output, {"seed": 1})
    first.save("0", {"diffusivity": np.array(0.25)})
    again = store.Partial(output, {"seed": 1})
    assert again.load("0")["diffusivity"] == 0.25
    assert again.load("1") is None
    other = store.Partial(output, {"seed": 2})
    assert other.load("0") is None
    other.discard()
    assert not other.folder.exists()


def test_work_of_another_identity_waits_for_its_own(tmp_path, capsys):
    """As when a key is changed during a training of hours, and changed back."""
    output = tmp_path / "labels.zarr"
    for seed in (1, 2):
        partial = store.Partial(output, {"seed": seed})
        partial.save("0", {"seed": np.array(seed)})
        (partial.folder / "events").mkdir()
        (partial.folder / "events" / "log").write_text(str(seed))
    assert "another configuration or input; kept as labels.zarr.partial-" in capsys.readouterr().err
    for seed in (1, 2, 1):
        partial = store.Partial(output, {"seed": seed})
        assert partial.load("0")["seed"] == seed
        assert (partial.folder / "events" / "log").read_text() == str(seed)
        assert len(list(tmp_path.iterdir())) == 2  # and the work of the other
    assert "goes on with what was kept as labels.zarr.partial-" in capsys.readouterr().err


@pytest.mark.parametrize("moves", range(4))
def test_work_that_a_kill_left_in_two_places_is_put_together(tmp_path, moves, monkeypatch):
    output = tmp_path / "labels.zarr"
    partial = store.Partial(output, 1)
    for key in "012":
        partial.save(key, {"key": np.array(int(key))})
    real, left = os.replace, moves

    def dies(source, target):
        nonlocal left
        if "partial-" in str(target) or "partial-" in str(source):
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
        real(source, target)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        store.Partial(output, 2)
    left = moves
    with suppress(KeyboardInterrupt):
        store.Partial(output, 1)
    monkeypatch.undo()
    partial = store.Partial(output, 1)
    assert [int(partial.load(key)["key"]) for key in "012"] == [0, 1, 2]
    assert os.listdir(tmp_path) == [partial.folder.name]


def test_the_marker_of_finished_chunks_is_written_once(tmp_path):
    """Writing it again, onto a disk that is full by now, would cost the chunks."""
    first = store.Partial(tmp_path / "labels.zarr", {"seed": 1})
    before = (first.folder / "identity").stat()
    again = store.Partial(tmp_path / "labels.zarr", {"seed": 1})
    after = (again.folder / "identity").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_an_altered_attribute_is_noticed(tmp_path, data):
    path = tmp_path / "s.zarr"
    write(path, data)
    metadata = path / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"box_length": 75.0', '"box_length": 80.0'))
    with pytest.raises(StoreError, match="its attributes were altered"):
        store.load(path, kind="dataset")


def test_a_deleted_array_is_noticed(tmp_path, data):
    path = tmp_path / "s.zarr"
    write(path, data)
    shutil.rmtree(path / "diffusivity")
    with pytest.raises(StoreError, match="'diffusivity'"):
        store.verify(path)


def _truncated(chunk):
    chunk.write_bytes(chunk.read_bytes()[:40])


def _altered(chunk):
    content = bytearray(chunk.read_bytes())
    content[content.index(np.arange(9.0).tobytes()) + 8] ^= 1
    chunk.write_bytes(content)


def _of_one_array(chunk):
    with chunk.open("wb") as file:
        np.save(file, np.arange(9.0))


@pytest.mark.parametrize("harm", [_truncated, _altered, _of_one_array])
def test_a_broken_chunk_of_an_unfinished_job_is_made_again(tmp_path, harm):
    partial = store.Partial(tmp_path / "labels.zarr", {"seed": 1})
    partial.save("0", {"diffusivity": np.arange(9.0)})
    harm(partial.folder / "0.npz")
    assert partial.load("0") is None
    partial.save("0", {"diffusivity": np.array(0.5)})
    assert partial.load("0")["diffusivity"] == 0.5


def test_only_a_store_is_replaced_by_one(tmp_path, data):
    path = tmp_path / "s.zarr"
    path.mkdir()
    write(path, data)
    write(path, data)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.tex").write_text("Once")
    message = r"thesis: holds 'chapter-1\.tex' and is not a morphion store of 'dataset'"
    with pytest.raises(MorphionError, match=message):
        write(tmp_path / "thesis", data)
    assert {entry.name for entry in tmp_path.iterdir()} == {"s.zarr", "thesis"}
    assert (tmp_path / "thesis" / "chapter-1.tex").read_text() == "Once"


def test_a_store_of_another_kind_is_not_replaced(tmp_path, data):
    """It may be the input of the command; or of another program."""
    path, foreign = tmp_path / "structures.zarr", tmp_path / "foreign.zarr"
    store.write(path, data, kind="structures", provenance={})
    xr.Dataset({"a": ("x", [1.0, 2.0])}).to_zarr(foreign, zarr_format=3, consolidated=False)
    for other in (path, foreign):
        message = (
            rf"{other.name}: holds 'a' and is not" if other == foreign else "is not a morphion"
        )
        with pytest.raises(MorphionError, match=message):
            write(other, data)
        with pytest.raises(MorphionError, match="is not a morphion store of 'labels'"):
            store.require_own(other, "labels")
    store.require_own(path, "structures")
    assert store.load(path, kind="structures").equals(data)
    np.testing.assert_array_equal(xr.open_zarr(foreign, consolidated=False).a, [1.0, 2.0])


def test_a_file_is_not_replaced_by_a_folder_nor_the_other_way_round(tmp_path, data):
    (tmp_path / "notes.yaml").write_text("output: out")
    with pytest.raises(MorphionError, match=r"notes\.yaml: is a file, where a folder"):
        write(tmp_path / "notes.yaml", data)
    assert (tmp_path / "notes.yaml").read_text() == "output: out"
    (tmp_path / "table.csv").mkdir()
    with (
        pytest.raises(MorphionError, match=r"table\.csv: is a folder; name the file"),
        store.atomic_file(tmp_path / "table.csv"),
    ):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["notes.yaml", "table.csv"]


def test_a_file_that_cannot_be_written_is_named_not_its_scratch(tmp_path):
    with (
        pytest.raises(MorphionError, match=r"t\.csv: cannot be written \(No space left on device"),
        store.atomic_file(tmp_path / "t.csv") as scratch,
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(scratch))


def test_a_folder_of_the_users_is_not_taken_for_unfinished_work(tmp_path):
    """Whatever it is called."""
    folder = tmp_path / "labels.zarr.partial"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        MorphionError, match=r"partial: holds 'notes\.txt' and is not the unfinished"
    ):
        store.Partial(tmp_path / "labels.zarr", {"seed": 1})
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").rename(folder / ".identity.12345678.tmp")  # of a job killed at once
    assert store.Partial(tmp_path / "labels.zarr", {"seed": 1}).load("0") is None


def test_two_processes_do_not_work_on_one_output(tmp_path):
    """As a job that was put back into the queue while the first one still runs."""
    output = tmp_path / "labels.zarr"
    program = (
        "import sys, time; from morphion import store\n"
        "job = store.Partial(sys.argv[1], 1); job.save('0', {}); print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        for identity in (1, 2):
            with pytest.raises(
                MorphionError, match=r"labels\.zarr: another process is at work on it"
            ):
                store.Partial(output, identity)
        other.kill()
    assert store.Partial(output, 1).load("0") == {}


def test_work_that_was_removed_is_not_begun_in_the_middle(tmp_path):
    partial = store.Partial(tmp_path / "labels.zarr", 1)
    shutil.rmtree(partial.folder)
    with pytest.raises(MorphionError, match=r"partial: was removed while its job ran"):
        partial.save("0", {})
    assert not partial.folder.exists()


def test_a_shard_that_is_named_twice_is_refused(tmp_path, data):
    paths = [tmp_path / "s0.zarr", tmp_path / "s1.zarr", tmp_path / "." / "s0.zarr"]
    with pytest.raises(StoreError, match=r"s0\.zarr: named 2 times"):
        store.write_shards(paths, data, {})
    assert not paths[0].exists()


@pytest.mark.parametrize(("name", "what"), [("file", "is a file"), ("no", "does not exist")])
def test_what_is_no_store_is_told(tmp_path, name, what):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=f"{name}: {what}; expected a morphion store"):
        store.load(tmp_path / name, kind="labels")


def test_a_copy_in_another_repository_has_no_commit(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=n", "-c", "user.email=e"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit():
        code = "from morphion.provenance import git_commit; print(git_commit())"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        where = {"env": environment, "cwd": tmp_path, "check": True, "text": True}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, **where
        ).stdout.strip()

    package = Path(provenance.__file__).parent
    (tmp_path / "morphion").mkdir()
    for name in ("__init__.py", "loops.py", "provenance.py"):
        shutil.copy(package / name, tmp_path / "morphion")
    git("init")
    git("commit", "--allow-empty", "-m", "theirs")
    assert commit() == "None"
    git("add", "morphion/__init__.py", "morphion/loops.py", "morphion/provenance.py")
    git("commit", "-m", "ours")
    assert commit() == git("rev-parse", "HEAD")


def test_an_output_that_may_not_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    require_writable(tmp_path / "new" / "t.csv")
    (tmp_path / "file").write_text("x")
    with pytest.raises(MorphionError, match=r"file/t\.csv: cannot be written \("):
        require_writable(tmp_path / "file" / "t.csv")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a read-only file system
    with pytest.raises(MorphionError, match=r"t\.csv: cannot be written \(its folder may not be"):
        require_writable(tmp_path / "t.csv")
