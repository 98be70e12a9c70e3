"""One renderer, in this process: what it draws, where the images go, and which models it refuses."""

import dataclasses
import platform
from pathlib import Path

import numpy as np
import pytest

from dmun_audit._util.errors import LoadError, StoreError
from dmun_audit.engines.renderer import Job, JudgeToOpen, Renderer
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.views import CLEAR
from dmun_audit.models import external_images
from dmun_audit.models.source_files import Source
from dmun_audit.plan.case import ImageRequest
from dmun_audit.policy import Sampling
from dmun_audit.render.engine import Engine
from dmun_audit.store.images import ImageStore
from dmun_audit.store.remote import local_part

SAMPLING = Sampling(steps=1, guidance=1.0, batch=2, threads=1, dtype="float32")
BATCH = tuple(ImageRequest(side, "a house", seed, seed) for side in ("base", "candidate") for seed in (1,))


@pytest.fixture
def job(here, tmp_path, monkeypatch):
    to_load, models = here
    monkeypatch.setattr(external_images, "_joined", "")
    weights = {side: model.weights_digest for side, model in models.items()}
    store = tmp_path / "store"
    store.mkdir()
    (store / "token").touch()
    return Job(to_load, SAMPLING, weights, store, store / "token", Path.cwd(), platform.node(), "a session")


@pytest.fixture
def local(here, tmp_path):
    """The engine of a process that renders itself."""
    return Engine(here[1], SAMPLING, ImageStore(tmp_path / "local"))


def keys(local):
    return [local.key(request) for request in BATCH]


def test_a_renderer_that_sees_the_store_writes_what_this_process_would_have_written(job, local):
    renderer, store = Renderer(job), ImageStore(job.store)
    opened = renderer.open()
    assert opened.shares_store
    assert external_images.session_id() == "a session"
    parts = renderer.render(BATCH, BATCH, keys(local), True)
    assert [(len(part.slots), len(part.new), part.images) for part in parts] == [(1, 1, []), (1, 1, [])]
    local.ensure(BATCH)
    assert [store.path(key).read_bytes() for key in keys(local)] == [local.store.path(key).read_bytes() for key in keys(local)]


def test_a_renderer_that_does_not_see_the_store_returns_the_images(job, local):
    job.token.unlink()
    renderer = Renderer(job)
    assert not renderer.open().shares_store
    parts = renderer.render(BATCH, BATCH, keys(local), True)
    images = [image for part in parts for _, image, _ in part.images]
    local.ensure(BATCH)
    assert all(np.array_equal(one, other) for one, other in zip(images, local.images(BATCH), strict=True))
    assert not (job.store / "images").exists()


def test_a_renderer_on_another_machine_writes_to_the_url_of_the_store(job, local, tmp_path, monkeypatch):
    url = f"file://{tmp_path / 'bucket'}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "this-machine"))
    here = ImageStore(local_part(url))
    here.remote.write({"nodes/token": b"{}"})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another-machine"))
    renderer = Renderer(dataclasses.replace(job, store=here.folder, token=here.folder / "nodes" / "token", url=url))
    assert renderer.open().shares_store
    parts = renderer.render(BATCH, BATCH, keys(local), True)
    assert [part.images for part in parts] == [[], []]
    local.ensure(BATCH)
    here.fetch(keys(local))
    assert [here.path(key).read_bytes() for key in keys(local)] == [local.store.path(key).read_bytes() for key in keys(local)]


def test_a_renderer_that_cannot_open_the_url_returns_the_images(job, local, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    job.token.unlink()
    renderer = Renderer(dataclasses.replace(job, url="nothing-opens-this://bucket"))
    assert not renderer.open().shares_store
    assert "cannot open nothing-opens-this://bucket, and sends its images" in caplog.text
    parts = renderer.render(BATCH, BATCH, keys(local), True)
    assert [len(part.images) for part in parts] == [1, 1]


def test_a_renderer_embeds_stored_images_in_a_view_as_this_process_would(job, local):
    renderer, judge = Renderer(job), ClipJudge("atelier:judge")
    renderer.open()
    renderer.render(BATCH, BATCH, keys(local), True)
    vectors = renderer.embed(JudgeToOpen(judge.reference, judge.digest), keys(local), (CLEAR,), None)
    images = [renderer._engine.store.read(key) for key in keys(local)]
    assert np.array_equal(vectors, judge.embed_images([CLEAR.change(image) for image in images]))


def test_a_renderer_asks_for_images_that_it_cannot_read_and_refuses_another_judge(job):
    renderer = Renderer(job)
    renderer.open()
    other = JudgeToOpen("atelier:judge", "0" * 64)
    assert renderer.embed(other, ["1" * 64], (), None) is None
    error = renderer.embed(other, ["1" * 64], (), [np.zeros((64, 64, 3), np.uint8)])
    assert isinstance(error, LoadError)
    assert error.what == "judge 'atelier:judge' is another one for a renderer than for this process"


def test_a_renderer_with_other_weights_is_refused(job):
    error = Renderer(dataclasses.replace(job, weights=job.weights | {"candidate": "0" * 64})).open()
    assert isinstance(error, LoadError)
    assert error.what == "atelier:uce-van-gogh has other weights for a renderer than for this process"


def test_a_renderer_whose_files_are_not_the_planned_ones_is_refused(job):
    models = dataclasses.replace(job.models, planned=job.models.planned | {"candidate": Source("0" * 64)})
    error = Renderer(dataclasses.replace(job, models=models)).open()
    assert isinstance(error, LoadError)
    assert "changed after the audit was planned" in error.what


def test_a_renderer_with_another_version_of_the_package_is_refused(job):
    error = Renderer(dataclasses.replace(job, version="0.0.1")).open()
    assert isinstance(error, LoadError)
    assert error.why == "this process has 0.0.1"


def test_a_renderer_draws_no_image_under_the_key_of_another(job, local):
    renderer = Renderer(job)
    renderer.open()
    error = renderer.render(BATCH, BATCH, ["0" * 64, "1" * 64], True)
    assert isinstance(error, LoadError)
    assert "would draw another image of 'a house'" in error.what
    assert not (job.store / "images").exists()


def test_an_error_from_another_machine_names_it(job, local):
    renderer = Renderer(dataclasses.replace(job, host="a-laptop"))
    renderer.open()
    (job.store / "images").write_text("no folder")
    error = renderer.render(BATCH, BATCH, keys(local), True)
    assert isinstance(error, StoreError)
    assert error.what.startswith(f"on {platform.node()}: cannot write {job.store / 'images'}")
