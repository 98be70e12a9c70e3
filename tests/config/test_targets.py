"""Which targets a session audits, each with which dossier."""

import pytest
from chat_server import serving
from dossier_files import write_dossier
from oracles import Looker, atelier_knowledge

from dmun_audit._util.errors import UsageError
from dmun_audit.config.resolve import AuditConfig, Options, resolve
from dmun_audit.config.targets import resolve_all

SLUGS = {"Van Gogh": "van-gogh", "sunflowers": "sunflowers"}


def names(configs):
    return [config.dossier.target.name for config in configs]


def test_each_of_several_is_resolved_as_if_alone():
    several = resolve_all(Options(), ["sunflowers", "Vincent van Gogh"], [])
    assert names(several) == ["sunflowers", "Van Gogh"]
    for config in several:
        alone = resolve(Options(target=config.dossier.target.name))
        assert config.plan == alone.plan
        assert config.plan.digest() == alone.plan.digest()
        assert config.audit_hash == alone.audit_hash
        assert config.run_folder == alone.run_folder
        assert alone.prefix == "" != config.prefix
        assert AuditConfig.from_json(config.to_json()) == config


def test_one_target_has_the_audit_folder_to_itself_and_several_share_it(tmp_path):
    options = Options(audit_dir=str(tmp_path))
    assert resolve_all(options, ["Van Gogh"], [])[0].run_folder == tmp_path
    several = resolve_all(options, list(SLUGS), [])
    assert [config.run_folder for config in several] == [tmp_path / slug for slug in SLUGS.values()]


def test_dossiers_find_their_targets_by_name_and_alias_and_a_pack_serves_the_rest(tmp_path):
    own = write_dossier(tmp_path / "own.json", "atelier-van-gogh", aliases=["Vincent"])
    first, second = resolve_all(Options(), ["sunflowers", "vincent"], [own])
    assert (first.knowledge, second.knowledge) == ("a pack that ships, of the atelier world", own)
    first, second = resolve_all(Options(), ["Van Gogh", "sunflowers"], ["atelier-sunflowers", own])
    assert (first.knowledge, second.knowledge) == (own, "atelier-sunflowers")


def test_without_targets_those_of_the_dossiers_are_audited():
    assert names(resolve_all(Options(), [], ["atelier-sunflowers", "atelier-van-gogh"])) == ["sunflowers", "Van Gogh"]


def test_a_language_model_serves_every_target_that_has_no_dossier(tmp_path):
    with serving(Looker(atelier_knowledge())) as chat:
        knowledge = [f"{chat.url}#looker", "atelier-sunflowers"]
        first, second = resolve_all(Options(store=str(tmp_path)), ["sunflowers", "Van Gogh"], knowledge)
    assert first.knowledge == "atelier-sunflowers"
    assert second.knowledge.startswith(knowledge[0])
    assert second.dossier.provenance.model == "looker"
    assert len(list(tmp_path.glob("dossiers/*[0-9a-f].json"))) == 1


@pytest.mark.parametrize(
    ("targets", "knowledge", "culprit"),
    [
        (["Van Gogh", "van  gogh"], [], "the same target is given twice: --target='Van Gogh' and --target='van  gogh'"),
        (["Van Gogh", "sunflowers", "Vincent van Gogh"], [], "and --target='Vincent van Gogh'"),
        (["Van Gogh", "Vincent van Gogh"], ["atelier-van-gogh"], "the same target is given twice"),
        ([], ["atelier-van-gogh", "atelier-van-gogh"], "the same target is given twice"),
        (["Van Gogh", "sunflowers"], ["monet"], "about 'Monet', which is none of the targets"),
        (["sunflowers"], ["atelier-sunflowers", "atelier-van-gogh"], "about 'Van Gogh', which is none of the targets"),
        (["Van Gogh", "sunflowers"], ["http://a/v1#m", "http://b/v1#m"], "2 language models"),
        ([], ["atelier-van-gogh", "http://a/v1#m"], "no target to be asked about"),
        (["Van Gogh", " "], [], "--target is empty"),
        (["Van Gogh"], ["atelier-van-gogh", ""], "--knowledge is empty"),
        (["Van Gogh", "sunflours"], [], "did you mean 'sunflowers'"),
    ],
)  # fmt: skip
def test_targets_and_dossiers_that_do_not_go_together_are_named(targets, knowledge, culprit, tmp_path):
    with pytest.raises(UsageError) as error:
        resolve_all(Options(store=str(tmp_path)), targets, knowledge)
    assert culprit in str(error.value)
    assert error.value.remedy


def test_no_target_has_a_prefix_that_ends_anothers(tmp_path):
    golden = write_dossier(tmp_path / "golden.json", "atelier-sunflowers", name="golden sunflowers", aliases=[])
    foreign = [
        write_dossier(tmp_path / f"{name}.json", "atelier-sunflowers", name=name, aliases=[]) for name in ("向日葵", "ひまわり")
    ]
    several = resolve_all(Options(), [], ["atelier-sunflowers", golden, *foreign])
    prefixes = [config.prefix for config in several]
    assert "golden-sunflowers" in prefixes
    assert not any(one.endswith(other) for one in prefixes for other in prefixes if one is not other), prefixes
    assert len({config.run_folder for config in several}) == 4
