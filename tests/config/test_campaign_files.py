"""Campaign files: what they say, where their paths lie, and what is refused."""

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.config.campaign_file import keys, read_campaign_file
from dmun_audit.plugin import OPTIONS

FULL = """
target = ["Van Gogh", "sunflowers"]
knowledge = ["mine.json", "monet"]
base = "models/base"
policy = "standard"
judge = "local-dir:judge"
detector = "references:owner/name#pictures"
store = "store"
audit-dir = "runs"
campaign-dir = "table"
audit-seed = 7
keep-going = true

[model]
"ESD-x" = "weights/esd.safetensors"
UCE = "atelier:uce-van-gogh"
elsewhere = "images:made"
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a campaign file into a folder below the current one, among models and judges."""
    folder = tmp_path / "campaigns"
    for name in ("models/base", "judge", "pictures", "weights", "made", "standard"):
        (folder / name).mkdir(parents=True)
    for name in ("weights/esd.safetensors", "mine.json"):
        (folder / name).touch()
    monkeypatch.chdir(tmp_path)

    def write(text):
        (folder / "all.toml").write_text(text)
        return "campaigns/all.toml"

    return write


def test_paths_are_relative_to_the_file_and_spelt_as_from_the_current_folder(file):
    content = read_campaign_file(file(FULL))
    assert [(model.name, model.reference) for model in content.models] == [
        ("ESD-x", "campaigns/weights/esd.safetensors"), ("UCE", "atelier:uce-van-gogh"), ("elsewhere", "images:campaigns/made"),
    ]  # fmt: skip
    assert content.targets == ("Van Gogh", "sunflowers")
    assert content.knowledge == ("campaigns/mine.json", "monet")
    assert content.options == {
        "base": "campaigns/models/base", "policy": "standard", "judge": "local-dir:campaigns/judge",
        "detector": "references:owner/name#campaigns/pictures", "store": "campaigns/store", "audit_dir": "campaigns/runs",
        "audit_seed": 7, "keep_going": True,
    }  # fmt: skip
    assert content.folder == "campaigns/table"


def test_outside_of_the_current_folder_paths_are_absolute(file, tmp_path, monkeypatch):
    path = tmp_path / file('model = "weights/esd.safetensors"\nstore = "store"')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    content = read_campaign_file(str(path))
    assert content.models[0].reference == str(tmp_path / "campaigns/weights/esd.safetensors")
    assert content.options["store"] == str(tmp_path / "campaigns/store")


def test_a_url_of_a_store_is_no_path(file):
    assert read_campaign_file(file('store = "s3://audits/van-gogh"')).options["store"] == "s3://audits/van-gogh"


def test_one_text_stands_for_a_list_of_one(file):
    content = read_campaign_file(file('model = "atelier:noop"\ntarget = "Van Gogh"'))
    assert ([model.text for model in content.models], content.targets) == (["atelier:noop"], ("Van Gogh",))


@pytest.mark.parametrize(
    ("text", "culprits"),
    [
        ('models = ["a"]', ["unknown key 'models'", "did you mean 'model'?", "valid keys: target, model"]),
        ('audit_dir = "x"', ["unknown key 'audit_dir'", "did you mean 'audit-dir'?"]),
        ('root = "x"', ["unknown key 'root'"]),
        ('audit-seed = "7"', ["audit-seed = '7'", "a whole number"]),
        ("keep-going = 1", ["keep-going = 1", "true or false"]),
        ('base = ""', ["base = ''", "a text that is not empty"]),
        ("target = []", ["target = []", "a list of texts"]),
        ('target = ["a", 3]', ["target = ['a', 3]"]),
        ('[model]\nESD = ["a"]', ["model = {'ESD': ['a']}", "a table of references by name"]),
        ('[target]\na = "b"', ["target = {'a': 'b'}"]),
        ("target = ", ["is no TOML"]),
    ],
)
def test_a_wrong_key_or_value_is_one_error_that_names_it(file, text, culprits):
    with pytest.raises(UsageError) as error:
        read_campaign_file(file(text))
    assert [culprit for culprit in ["all.toml", *culprits] if culprit not in str(error.value)] == []


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"there is no campaign file .*none\.toml"):
        read_campaign_file(str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_campaign_file(str(tmp_path))


def test_every_option_but_the_file_itself_and_what_the_terminal_shows_is_a_key():
    assert set(keys()) == {name for name, _ in OPTIONS} - {"campaign", "gpu-price"}
