"""Memory that a process may take: of the machine, its container, its job."""

import psutil
import pytest

from morphion.errors import TransportError
from morphion.memory import available_memory
from morphion.transport import checks

MIB = 2**20


def limits(folder, most, used, kept, names):
    """The files of a control group; sizes in MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    limit, current, inactive = names
    (folder / limit).write_text(most if most == "max" else str(most * MIB))
    (folder / current).write_text(f"{used * MIB}\n")
    (folder / "memory.stat").write_text(f"anon 17\n{inactive} {kept * MIB}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


@pytest.mark.parametrize(
    ("line", "top", "names"), [("0::", "", V2), ("4:cpu,memory:", "memory", V1)]
)
def test_the_tightest_limit_of_all_groups_above_counts(tmp_path, line, top, names):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text(f"9:name=systemd:/\n{line}/slurm/job_7/step_0\n")
    limits(root / top / "slurm/job_7/step_0", 900 if names is V1 else "max", 100, 0, names)
    limits(root / top / "slurm/job_7", 300, 120, 20, names)  # 20 of the 120 can be given back
    limits(root / top / "slurm", 4000, 3900, 3000, names)
    assert available_memory(groups, root) == 200 * MIB


def test_a_group_that_is_full_leaves_nothing(tmp_path):
    (tmp_path / "cgroup").write_text("0::/job\n")
    limits(tmp_path / "fs/job", 300, 310, 0, V2)
    assert available_memory(tmp_path / "cgroup", tmp_path / "fs") == 0


def test_without_groups_the_machine_counts(tmp_path):
    found = available_memory(tmp_path / "none", tmp_path)
    assert found == pytest.approx(psutil.virtual_memory().available, rel=0.05)


def test_a_lattice_that_the_job_has_no_memory_for_is_refused(monkeypatch):
    monkeypatch.setattr(checks, "available_memory", lambda: 2**30)
    with pytest.raises(TransportError, match=r"needs 14\.1 GiB, 0\.9 GiB .* has 285 sites an edge"):
        checks.require_memory(700, 44, "the kmc label")
