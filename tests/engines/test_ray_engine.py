"""The Ray engine beside the local one: stored images are drawn again and compared, lost ones come back, all are embedded."""

import dataclasses
import os
from contextlib import closing

import numpy as np
import pytest

from dmun_audit._util.errors import LoadError, StoreError
from dmun_audit.engines import ray_engine
from dmun_audit.engines.cluster import Cluster
from dmun_audit.engines.ray_engine import RayEngine
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.plan.case import ImageRequest
from dmun_audit.policy import Sampling
from dmun_audit.render.engine import Engine
from dmun_audit.store.images import ImageStore
from dmun_audit.store.remote import local_part

SAMPLING = Sampling(steps=1, guidance=1.0, batch=2, threads=1, dtype="float32", recheck_images=8)
ROW = [ImageRequest("base", "a house", seed, seed) for seed in range(4)]
LONG_AGO = (1_000_000_000, 1_000_000_000)


@pytest.mark.slow
def test_rechecks_lost_images_and_embeddings_are_those_of_the_local_engine(ray_address, here, tmp_path):
    to_load, models = here
    store = ImageStore(tmp_path)
    local = Engine(models, SAMPLING, store)
    local.ensure(ROW)
    keys = [local.key(request) for request in ROW]
    images = local.images(ROW)
    for key in keys:
        os.utime(store.path(key), LONG_AGO)
    rendered = []
    with (
        closing(Cluster("ray", 1)) as cluster,
        closing(RayEngine(cluster, to_load, models, SAMPLING, store, rendered.append)) as engine,
    ):
        assert [engine.key(request) for request in ROW] == keys
        engine.ensure(ROW, ROW[:2])
        assert (engine.counts.rendered, engine.counts.rechecked) == (0, 2)
        store.path(keys[1]).unlink()
        assert all(np.array_equal(one, other) for one, other in zip(engine.images(ROW[:2]), images[:2], strict=True))
        assert (engine.rendered, rendered) == (1, [1])
        judge = ClipJudge("atelier:judge")
        store.path(keys[0]).unlink()  # no renderer can read it: it is drawn again and sent
        assert np.array_equal(engine.embed(judge, keys[:2], ()), judge.embed_images(images[:2]))
        assert engine.rendered == 2
        store.write(keys[3], np.roll(images[3], 8, axis=0), {"place": store.stored(keys[3]).facts["place"]})
        os.utime(store.path(keys[3]), LONG_AGO)
        with pytest.raises(StoreError, match="is not what the base draws"):
            engine.ensure(ROW)
        other = dataclasses.replace(engine._opened, host="another", environment=engine.environment | {"torch": "9"})
        with pytest.raises(LoadError, match="draw different images") as caught:
            engine._confirm(other)
        assert caught.value.why.endswith("and '9' on another")
        other = dataclasses.replace(engine._opened, host="another", judging={"torchvision": "9"})
        with pytest.raises(LoadError, match="judge images differently"):
            engine._confirm(other)


@pytest.mark.slow
def test_renderers_of_another_machine_write_and_judge_images_at_the_url_of_the_store(ray_address, here, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "write_atomically", lambda path, data: None)  # the file that renderers look for in the folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "this-machine"))
    to_load, models = here
    store, local = (
        ImageStore(local_part(f"file://{tmp_path / 'bucket'}")),
        Engine(models, SAMPLING, ImageStore(tmp_path / "local")),
    )
    judge = ClipJudge("atelier:judge")
    with closing(Cluster("ray", 1)) as cluster, closing(RayEngine(cluster, to_load, models, SAMPLING, store)) as engine:
        assert engine._opened.shares_store
        for _ in range(2):  # as at every further look
            engine.ensure(ROW)
            assert engine.rendered == len(set(ROW))
        keys = [engine.key(request) for request in ROW]
        assert not (store.folder / "images").exists()
        vectors = engine.embed(judge, keys, ())
        assert not (store.folder / "images").exists()
        images = engine.images(ROW)
    local.ensure(ROW)
    assert all(np.array_equal(one, other) for one, other in zip(images, local.images(ROW), strict=True))
    assert np.array_equal(vectors, judge.embed_images(images))
    assert not list((tmp_path / "bucket" / "nodes").iterdir())


@pytest.mark.slow
def test_images_of_a_renderer_that_does_not_see_the_store_are_written_here(ray_address, here, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "write_atomically", lambda path, data: None)  # the file that renderers look for
    to_load, models = here
    store, local = ImageStore(tmp_path / "here"), Engine(models, SAMPLING, ImageStore(tmp_path / "local"))
    with closing(Cluster("ray", 1)) as cluster, closing(RayEngine(cluster, to_load, models, SAMPLING, store)) as engine:
        assert not engine._opened.shares_store
        engine.ensure(ROW[:2])
    local.ensure(ROW[:2])
    for key in map(local.key, ROW[:2]):
        assert store.path(key).read_bytes() == local.store.path(key).read_bytes()
