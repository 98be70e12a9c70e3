"""Which run folders a comparison takes from the paths that a user names."""

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.comparison.runs import run_folders


@pytest.fixture
def folder(tmp_path):
    """A folder with two run folders and other things."""
    for name in ("b", "a"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "manifest.json").touch()
    (tmp_path / "runs" / "store").mkdir()
    (tmp_path / "runs" / "notes.txt").touch()
    return tmp_path / "runs"


def test_run_folders_stay_in_their_order(folder):
    assert run_folders([folder / "b", folder / "a"]) == [folder / "b", folder / "a"]


def test_a_folder_of_runs_stands_for_them_by_name(folder):
    assert run_folders([folder]) == [folder / "a", folder / "b"]


def test_a_folder_without_runs_is_left_to_the_reader_of_runs(folder):
    assert run_folders([folder / "store", folder / "nowhere"]) == [folder / "store", folder / "nowhere"]


@pytest.mark.parametrize("spelled", ["a", "b/../a", "link", "."])
def test_a_run_that_is_named_twice_is_refused_under_any_spelling(folder, spelled):
    (folder.parent / "link").symlink_to(folder / "a")
    other = folder.parent / "link" if spelled == "link" else folder / spelled
    with pytest.raises(UsageError, match="is named twice") as error:
        run_folders([folder / "a", other])
    assert ("is the same folder" in str(error.value)) is (spelled in ("b/../a", "link"))
