"""Renderers on a real cluster, without models: what is lost is drawn again, and errors arrive as they were raised."""

import importlib
import platform
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from light_renderers import DyingRenderer, LightRenderer, request

from dmun_audit._util.errors import LoadError, StoreError, UsageError
from dmun_audit.engines import renderers as pool
from dmun_audit.engines.cluster import Cluster
from dmun_audit.engines.renderer import JudgeToOpen
from dmun_audit.engines.renderers import Renderers
from dmun_audit.engines.tasks import DrawTask, EmbedTask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(ray_address):
    """Makes renderers of a class of actors, on a cluster with room for two."""
    with ExitStack() as stack:

        def start(kind):
            cluster = Cluster("ray", 1)
            stack.callback(cluster.close)
            renderers = Renderers(cluster, SimpleNamespace(host=platform.node()), lambda opened: None, kind)
            stack.callback(renderers.close)
            return renderers

        yield start


@pytest.fixture(scope="module")
def renderers(opened):
    """Renderers that draw, fail and die as they are told."""
    made = opened(LightRenderer)
    yield made
    made.close()


def tasks(*prompts):
    return [DrawTask((request(prompt, seed),), [request(prompt, seed)], ["key"], False) for seed, prompt in enumerate(prompts)]


def drawn(renderers, tasks):
    """The places of the images, which name the renderer, by their seeds."""
    images = [image for _, parts in renderers.run(tasks, len(tasks)) for part in parts for image in part.images]
    return {request.seed: place for request, _, place in images}


def test_two_renderers_share_the_batches(renderers):
    places = drawn(renderers, tasks(*["draw"] * 8))
    assert sorted(places) == list(range(8))
    assert len(set(places.values())) == 2


def test_a_batch_is_taken_only_when_a_renderer_is_free_for_it(renderers):
    taken, done = [], 0

    def coming():
        for task in tasks(*["draw"] * 8):
            taken.append(task)
            yield task

    for _ in renderers.run(coming(), 8):
        assert len(taken) - done <= 3  # two that are drawn, and one ahead
        done += 1
    assert done == 8


def test_an_error_of_a_renderer_is_raised_as_it_was_and_the_next_batch_is_drawn(renderers):
    with pytest.raises(StoreError, match="no room"):
        drawn(renderers, tasks("refuse", "draw"))
    with pytest.raises(ZeroDivisionError, match="by a library") as caught:
        drawn(renderers, tasks("fail"))
    assert "ray::" not in str(caught.value)
    assert sorted(drawn(renderers, tasks("draw", "draw"))) == [0, 1]


def test_a_batch_whose_renderer_is_killed_is_drawn_by_another(renderers, tmp_path):
    places = drawn(renderers, tasks(f"die {tmp_path / 'one'}", "draw", f"die {tmp_path / 'two'}", "draw", "draw"))
    assert sorted(places) == list(range(5))


def test_images_whose_renderer_is_killed_while_it_judges_them_are_judged_by_another(renderers, tmp_path):
    batches = [[f"die {tmp_path / 'judging'}", "one"], ["another"], ["the", "last"]]
    done = {}
    for task, vectors in renderers.run([EmbedTask(JudgeToOpen("a judge", "its digest"), keys, ()) for keys in batches], 3):
        done |= zip(task.keys, vectors[:, 0].tolist(), strict=True)
    assert done == {key: len(key) for keys in batches for key in keys}


def test_a_batch_that_kills_every_renderer_is_one_clear_error(renderers, monkeypatch):
    monkeypatch.setattr(pool, "TRIES", 2)
    with pytest.raises(UsageError, match="2 renderers died while they drew the same batch") as caught:
        drawn(renderers, tasks("die"))
    assert "memory" in caught.value.remedy


def test_renderers_that_die_while_they_load_are_one_clear_error(opened, monkeypatch):
    monkeypatch.setattr(pool, "TRIES", 2)
    with pytest.raises(UsageError, match="2 renderers died while they started"):
        opened(DyingRenderer).open_first()


def test_a_machine_without_the_package_is_one_clear_error(opened, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("from light_renderers import LightRenderer\n\nclass Far(LightRenderer):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    far = importlib.import_module("only_here").Far
    with pytest.raises(LoadError, match="dmun_audit cannot be imported for a renderer") as caught:
        opened(far).open_first()
    assert caught.value.why == "ModuleNotFoundError: No module named 'only_here'"


def test_a_cluster_without_room_is_one_clear_error(opened, monkeypatch):
    monkeypatch.setattr(pool, "PATIENCE", 1.0)
    monkeypatch.setattr(pool, "SLICE", 0.5)
    renderers = opened(LightRenderer)
    renderers._cluster.needs = {"num_cpus": 3}
    with pytest.raises(UsageError, match="starts no renderer") as caught:
        renderers.open_first()
    assert "each needs cpus 3" in caught.value.why
