"""Workers of pytest-xdist: one for each GPU that the caller sees, and one GPU for each worker."""

import os
import sys

import pytest
from processes import run

from dmun_audit.pytest_plugin.workers import assigned, visible_gpus

MIG = "MIG-3f2b6c1e-0000-5555-aaaa-000000000001"


@pytest.mark.parametrize(
    ("environment", "count", "gpus"),
    [
        ({}, 3, ["0", "1", "2"]),
        ({}, 0, []),
        ({"CUDA_VISIBLE_DEVICES": "3,1"}, 8, ["3", "1"]),
        ({"CUDA_VISIBLE_DEVICES": " 2, 0 "}, 8, ["2", "0"]),
        ({"CUDA_VISIBLE_DEVICES": f"GPU-8a1f,{MIG}"}, 8, ["GPU-8a1f", MIG]),
        ({"CUDA_VISIBLE_DEVICES": ""}, 8, []),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 2, ["0", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, 0, []),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, 8, ["0"]),
        ({"CUDA_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "5,4"}, 8, ["5", "4"]),
    ],
)
def test_the_gpus_are_those_of_the_caller_in_its_order(environment, count, gpus):
    assert visible_gpus(environment, lambda: count) == gpus


@pytest.mark.parametrize(
    ("gpus", "workers", "each"),
    [
        (["3", "1"], 2, ["3", "1"]),
        (["3", "1", "0"], 2, ["3", "1"]),
        (["3", "1"], 5, ["3", "1", "3", "1", "3"]),
        ([], 4, []),
    ],
)
def test_each_worker_gets_one_gpu_and_shares_it_only_if_it_must(gpus, workers, each):
    assert assigned(gpus, workers) == each


TESTS = """
import os, time
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(6))
def test_what_a_worker_sees({argument}number, request):
    seen = Path("seen", str(number))
    name = os.environ["PYTEST_XDIST_WORKER"] + " " + os.environ.get("CUDA_VISIBLE_DEVICES", "all") + " of "
    if number == 0 and "{crashes}":
        os._exit(3)
    end = time.monotonic() + 60
    while "{crashes}" and os.environ["PYTEST_XDIST_WORKER"] != "gw2" and time.monotonic() < end:
        if any("gw2" in path.read_text() for path in seen.parent.iterdir()):  # the replacement had a test too
            break
        time.sleep(0.05)
    seen.write_text(name + os.environ["PYTEST_XDIST_WORKER_COUNT"])
"""


SEES_GPUS = """
from dmun_audit.pytest_plugin import workers

workers.count_gpus = lambda: 3
"""


SHARED = """
from pathlib import Path
from dmun_audit.plugin import KEY

def test_erased(audit, target_prompt, request):
    (tests,) = request.config.stash[KEY].tests
    Path("seen", target_prompt.id).write_text(" ".join(tests.audit.shared_groups))

def test_kept(audit, nearby):
    pass
"""


@pytest.fixture
def seen(tmp_path, store):
    """Runs tests on workers; returns what each worker saw, and what the session wrote."""

    def workers(*options, gpus, argument="audit, ", crashes="", tests=""):
        (tmp_path / "seen").mkdir()
        (tmp_path / "test_it.py").write_text(tests or TESTS.format(argument=argument, crashes=crashes))
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        environment |= {"CUDA_VISIBLE_DEVICES": gpus, "PYTHONPATH": str(tmp_path)}
        (tmp_path / "sees_gpus.py").write_text(SEES_GPUS)  # torch sees none on this machine
        words = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "sees_gpus",
            f"--dmun-store={store}",
            "test_it.py",
        ]
        done = run([*words, *options], cwd=tmp_path, env=environment)
        return {path.read_text() for path in (tmp_path / "seen").iterdir()}, done.stdout

    return workers


@pytest.mark.slow
def test_auto_is_one_worker_for_each_gpu_and_each_sees_its_own(seen):
    saw, _ = seen("-n", "auto", "--maxschedchunk=1", gpus=f"{MIG},GPU-8a1f")
    assert saw == {f"gw0 {MIG} of 2", "gw1 GPU-8a1f of 2"}


@pytest.mark.slow
def test_more_workers_than_gpus_share_them_and_the_session_says_so(seen):
    saw, output = seen("-n", "3", "--maxschedchunk=1", gpus="5,2")
    assert saw == {"gw0 5 of 3", "gw1 2 of 3", "gw2 5 of 3"}
    assert "3 workers share 2 GPUs, and the memory on them" in output


@pytest.mark.slow
def test_a_worker_that_replaces_a_crashed_one_gets_its_gpu(seen):
    saw, output = seen("-n", "2", "--maxschedchunk=1", gpus="5,2", crashes="yes")
    if "worker 'gw0' crashed" in output:
        assert saw == {"gw1 2 of 2", "gw2 5 of 2"}
    else:  # the worker that is ready first gets the first test
        assert "worker 'gw1' crashed" in output
        assert saw == {"gw0 5 of 2", "gw2 2 of 2"}


@pytest.mark.slow
def test_without_a_gpu_auto_follows_the_threads_of_the_policy(seen, tmp_path):
    (tmp_path / "two.toml").write_text('extends = "smoke"\n[sampling]\nthreads = 10_00\n')
    saw, output = seen("-n", "auto", "--dmun-policy=two.toml", gpus="")
    assert saw == {"gw0  of 1"}
    assert "share" not in output


@pytest.mark.slow
def test_a_session_without_an_audit_keeps_the_defaults(seen):
    saw, _ = seen("-n", "2", "--maxschedchunk=1", gpus="5,2,7", argument="")
    assert saw == {"gw0 5,2,7 of 2", "gw1 5,2,7 of 2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "groups"),
    [(["-n", "2"], "erasure retention"), (["-n", "2", "-k", "erased"], "erasure"), ([], "")],
)
def test_workers_draw_for_the_groups_of_selected_cases_while_they_wait(seen, options, groups):
    saw, _ = seen(*options, "--dmun-policy=smoke", gpus="", tests=SHARED)
    assert saw == {groups}
