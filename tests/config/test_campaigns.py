"""Several models for several targets: each audit is resolved as if alone, and what cannot be audited is named."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from dmun_audit._util.errors import LoadError, StoreError, UsageError
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.campaign import CampaignOptions, NamedModel, named, resolve_campaign
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.models.references import WEIGHTS_FOLDER
from dmun_audit.models.source_files import read_source

UCE, ESD, SUNFLOWERS = "atelier:uce-van-gogh", "atelier:esd-van-gogh", "atelier:uce-sunflowers"
BOTH = ("Van Gogh", "sunflowers")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A store that knows the digests of the models once they were resolved."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def resolved(known):
    def resolve_models(*models, targets=BOTH, knowledge=(), folder=None, only_listed=False, **options):
        given = tuple(model if isinstance(model, NamedModel) else NamedModel(str(model)) for model in models)
        shared = Options(**{"policy": "smoke", "store": str(known)} | options)
        asked = CampaignOptions(shared, given, tuple(targets), tuple(knowledge), folder=folder)
        return resolve_campaign(asked, only_listed=only_listed)

    return resolve_models


def test_every_model_is_audited_for_every_target_as_if_alone(resolved, known):
    campaign = resolved(UCE, SUNFLOWERS)
    assert [(each.candidate, each.dossier.target.name) for each in campaign.configs] == [
        (model, target) for model in (UCE, SUNFLOWERS) for target in BOTH
    ]
    for config in campaign.configs:
        alone = resolve(Options(config.dossier.target.name, config.candidate, policy="smoke", store=str(known)))
        assert (config.plan, config.audit_hash, config.run_folder) == (alone.plan, alone.audit_hash, alone.run_folder)
        assert AuditConfig.from_json(config.to_json()) == config
    assert [each.prefix for each in campaign.configs] == [
        f"{model}/{target}" for model in ("uce-van-gogh", "uce-sunflowers") for target in ("van-gogh", "sunflowers")
    ]


def test_without_a_target_each_model_is_audited_for_its_own(resolved):
    campaign = resolved(UCE, SUNFLOWERS, targets=())
    assert [each.dossier.target.name for each in campaign.configs] == ["Van Gogh", "sunflowers"]


def test_with_an_audit_folder_each_audit_has_its_own_in_it(resolved, tmp_path):
    campaign = resolved(UCE, NamedModel(SUNFLOWERS, "My UCE!"), audit_dir=str(tmp_path))
    assert [each.run_folder.relative_to(tmp_path).as_posix() for each in campaign.configs] == [
        "uce-van-gogh/van-gogh", "uce-van-gogh/sunflowers", "my-uce/van-gogh", "my-uce/sunflowers",
    ]  # fmt: skip


def test_one_model_is_no_campaign_unless_it_is_asked_for(resolved, tmp_path):
    assert resolved(UCE).folder is None
    assert resolved(UCE).configs[0].prefix == "van-gogh"
    asked = resolved(UCE, folder=str(tmp_path / "table"))
    assert asked.folder == tmp_path / "table"
    assert asked.configs[0].prefix == "uce-van-gogh/van-gogh"


def test_the_folder_of_a_campaign_follows_from_what_is_asked(resolved, tmp_path):
    one, same = (resolved(UCE, ESD, root=str(tmp_path)).folder for _ in range(2))
    others = [resolved(ESD, UCE), resolved(UCE, ESD, targets=BOTH[:1]), resolved(UCE, ESD, audit_seed=7)]
    assert one == same
    assert one.parent == tmp_path / "audit-runs"
    assert len({one.name, *(each.folder.name for each in others)}) == 4


def test_names_are_the_ends_of_references_unless_two_are_equal():
    models = [NamedModel(text) for text in ("atelier:noop", "a/esd.safetensors", "b/esd.pt", "owner/name", "images:x/y/", "dir/")]
    assert [model.name for model in named(models)] == ["noop", "a/esd.safetensors", "b/esd.pt", "name", "y", "dir"]


@pytest.mark.parametrize(
    ("models", "culprit"),
    [
        ([UCE, UCE], "the same model is given twice: atelier:uce-van-gogh"),
        ([NamedModel(UCE, "A"), NamedModel(ESD, "a")], "two models have the name 'A'"),
        ([UCE, ""], "--model is empty"),
        ([UCE, "atelier:base", ESD], "waives"),
    ],
)
def test_models_that_do_not_go_together_are_named(resolved, models, culprit, tmp_path):
    policy = tmp_path / "waiving.toml"
    waiver = 'extends = "smoke"\n[[waivers]]\ncase = "no such case"\nreason = "r"\nowner = "o"\nexpires = 2999-01-01\n'
    policy.write_text(waiver if culprit == "waives" else 'extends = "smoke"\n')
    with pytest.raises(UsageError) as error:
        resolved(*models, policy=str(policy))
    assert culprit in str(error.value)


def test_another_profile_is_another_campaign(resolved):
    one, same, fast = (
        resolved(UCE, SUNFLOWERS, targets=["Van Gogh"], only_listed=True, **options)
        for options in ({}, {"profile": "fidelity"}, {"profile": "fast"})
    )
    assert one.id == same.id
    assert one.folder != fast.folder


def test_models_of_different_bases_are_no_campaign(resolved, tmp_path):
    other = tmp_path / "other-base"
    shutil.copytree(WEIGHTS_FOLDER / "base", other)
    (other / "README.md").write_text(f"---\nbase_model: {other}\n---\n")
    with pytest.raises(UsageError, match=r"the models have different bases: .* has atelier:base, and .*other-base has"):
        resolved(UCE, other, targets=["Van Gogh"])


@pytest.fixture
def nan(tmp_path):
    tensors = load_file(WEIGHTS_FOLDER / "uce-van-gogh.safetensors")
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, tmp_path / "nan.safetensors")
    return tmp_path / "nan.safetensors"


def test_a_model_that_cannot_be_loaded_loses_only_its_own_audits(resolved, nan):
    campaign = resolved(nan, "no/such/model/at-all", UCE, base="atelier:base")
    assert [each.candidate for each in campaign.configs] == [UCE, UCE]
    assert [(each.model_name, each.target) for each in campaign.lost] == [
        (name, target) for name in ("nan", "at-all") for target in BOTH
    ]
    assert "NaN" in str(campaign.lost[0].error)
    assert "there is no model at no/such/model/at-all" in str(campaign.lost[2].error)
    listed = resolved(nan, UCE, base="atelier:base", only_listed=True)
    assert len(listed.configs) == 4  # nothing is loaded to list the tests


def test_an_error_of_all_models_is_one_of_the_command(resolved, nan):
    with pytest.raises(UsageError, match="there is no model at no/base/at/all"):
        resolved(UCE, ESD, base="no/base/at/all")
    with pytest.raises(UsageError, match=r"none of the 2 models can be audited(.|\n)*NaN(.|\n)*no/such/model"):
        resolved(nan, "no/such/model/at-all", base="atelier:base")


def test_a_store_that_cannot_be_written_is_no_fault_of_a_model(resolved, tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match="cannot write to"):
        resolved(UCE, ESD, store=str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"policy": "smok"}, "smok"),
        ({"judge": "classifier:x"}, "is no CLIP model"),
        ({"targets": ["Van Gogh", "sunflours"]}, "did you mean 'sunflowers'"),
        ({"unrelated": "no/such/file"}, "no/such/file"),
        ({"targets": ["Van Gogh", "van gogh"]}, "the same target is given twice"),
    ],
)
def test_options_that_no_audit_can_follow_are_one_error(resolved, options, culprit):
    with pytest.raises((UsageError, LoadError)) as error:
        resolved(UCE, "no/such/model/at-all", base="atelier:base", **{"policy": "standard"} | options)
    assert culprit in str(error.value)


def test_the_files_of_the_base_are_read_once_for_all_models(resolved, monkeypatch):
    read = []

    def reading(reference):
        read.append(reference.text)
        return read_source(reference)

    monkeypatch.setattr("dmun_audit.config.resolve.read_source", reading)
    resolved(UCE, SUNFLOWERS)
    assert sorted(read) == sorted(["atelier:base", UCE, SUNFLOWERS])
