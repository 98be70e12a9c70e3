"""The notebook of the documentation runs from its first cell to its last, in a kernel of its own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/audit.ipynb"


def test_the_notebook_is_committed_without_outputs():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs(tmp_path, monkeypatch, store):
    store.mkdir(exist_ok=True)
    cache = tmp_path / "cache"  # the store's place for audits that name none
    (cache / "dmun_audit").mkdir(parents=True)
    (cache / "dmun_audit" / "store").symlink_to(store)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = {cell.source.splitlines()[-1]: _data(cell) for cell in notebook.cells if cell.cell_type == "code"}
    assert "PASS" in shown["result.verdict"]["text/plain"]
    assert "PASS" in shown["retrained.verdict"]["text/plain"]
    assert "<table" in shown["result.to_pandas()"]["text/html"]
    assert "Van Gogh" in shown["result"]["text/html"]
    assert "PASS" in shown["decision.verdict, decision.upper"]["text/plain"]
    assert list(tmp_path.glob("audit-runs/*/report.html"))


def _data(cell: nbformat.NotebookNode) -> dict[str, str]:
    """What a cell shows, by MIME type; what it printed is plain text."""
    printed = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    return {"text/plain": printed} | next((output.data for output in reversed(cell.outputs) if "data" in output), {})
