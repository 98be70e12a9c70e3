"""What --engine may say, and what it says where Ray cannot be used."""

import os
import socket
import sys

import processes
import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.engines.choice import check_engine

ROOT = processes.TESTS.parent
AUDIT = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--policy=smoke"]


def test_the_engines_that_exist_are_taken():
    for engine in ("local", "ray", "ray://head:10001", "ray://10.0.0.1:10001", "ray://[::1]:10001"):
        check_engine(engine)


@pytest.mark.parametrize("engine", ["Ray", "spark", "ray://", "ray://head", "ray://head:port", "ray://head:1/x", "head:10001"])
def test_any_other_engine_is_refused_with_those_that_exist(engine):
    with pytest.raises(UsageError, match="is no engine") as caught:
        check_engine(engine)
    assert caught.value.remedy.startswith("write local, ray, or ray://HOST:PORT")


def test_a_pipeline_in_memory_is_rendered_in_its_own_process():
    check_engine("local", in_memory={"candidate"})
    with pytest.raises(UsageError, match="cannot render a pipeline in memory") as caught:
        check_engine("ray", {"candidate"})
    assert "save_pretrained" in caught.value.remedy


@pytest.mark.slow
def test_workers_beside_ray_are_refused(tmp_path):
    done = processes.run([*AUDIT, "--engine=ray", "-n", "2", f"--audit-dir={tmp_path / 'run'}"], cwd=ROOT)
    assert done.returncode == 4
    assert "--engine=ray and -n are given together" in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()


WITHOUT_RAY = """
import sys
class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NoRay())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "ray" else found(name, package)
import dmun_audit.api, dmun_audit.runtime.loading, dmun_audit.engines.renderers, dmun_audit.engines.ray_engine
"""


@pytest.mark.slow
def test_without_ray_the_package_can_be_imported_and_the_error_says_what_to_install(tmp_path):
    (tmp_path / "without_ray.py").write_text(WITHOUT_RAY)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = processes.run([*AUDIT, "-p", "without_ray", "--engine=ray"], cwd=ROOT, env=environment)
    text = done.stdout + done.stderr
    assert done.returncode == 4, text
    assert "ERROR: --engine=ray needs Ray" in text
    assert "pip install 'dmun_audit[ray]'" in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_an_address_where_nothing_listens_is_one_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code = f"from dmun_audit.engines.cluster import Cluster\nCluster('ray://127.0.0.1:{port}', 1)"
    done = processes.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == 1
    assert f"cannot connect to ray://127.0.0.1:{port}" in done.stderr
    assert "Connection refused" in done.stderr
