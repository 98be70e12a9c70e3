"""Models with known answers: their names, and the weights that these names stand for."""

import pytest
import torch

from benchmarks.calibration.known_models import KnownModel, known_models, parse_model
from dmun_audit._util.errors import UsageError
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference


def test_a_name_gives_origin_and_shares():
    assert parse_model("uce-van-gogh@0.7") == KnownModel("uce-van-gogh@0.7", "base", (("uce-van-gogh", 0.7),))
    assert parse_model("retrained+damaged@0.2") == KnownModel("retrained+damaged@0.2", "retrained", (("damaged", 0.2),))
    assert all(parse_model(model.name) == model for model in known_models())


def test_a_share_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="no share"):
        parse_model("damaged@much")


def test_the_models_have_different_names_and_the_base_comes_first():
    names = [model.name for model in known_models()]
    assert len(set(names)) == len(names)
    assert names[0] == "base"


@pytest.mark.slow
def test_no_share_of_an_edit_is_the_base_and_all_of_it_the_shipped_model(model_maker):
    assert model_maker.make(parse_model("uce-van-gogh@0"))[1] == model_maker.base.weights_digest
    shipped = load_candidate(parse_reference("atelier:uce-van-gogh"), model_maker.base.reference)
    assert model_maker.make(parse_model("uce-van-gogh"))[1] == shipped.weights_digest
    model, _ = model_maker.make(parse_model("uce-van-gogh@1"))
    expected = shipped.pipeline.unet.state_dict()
    assert all(torch.allclose(value, expected[name], atol=1e-6) for name, value in model.pipeline.unet.state_dict().items())


@pytest.mark.slow
def test_half_an_edit_is_midway_and_the_base_stays_as_it_was(model_maker):
    name = next(name for name in model_maker.base.pipeline.unet.state_dict() if name.endswith("attn2.to_k.weight"))
    weights = {
        text: model_maker.make(parse_model(text))[0].pipeline.unet.state_dict()[name].clone()
        for text in ("base", "damaged@0.5", "damaged")
    }
    assert torch.allclose(weights["damaged@0.5"], (weights["base"] + weights["damaged"]) / 2, atol=1e-6)
    assert model_maker.make(parse_model("base"))[1] == model_maker.base.weights_digest


@pytest.mark.slow
def test_a_retrained_model_is_damaged_in_its_own_pipeline(model_maker):
    retrained, _ = model_maker.make(parse_model("retrained"))
    before = {name: value.clone() for name, value in retrained.pipeline.unet.state_dict().items()}
    damaged, _ = model_maker.make(parse_model("retrained+damaged@0.1"))
    changed = {name for name, value in damaged.pipeline.unet.state_dict().items() if not torch.equal(value, before[name])}
    assert damaged.reference.name == "retrained"
    assert changed
    assert all(".attn2.to_" in name for name in changed)
