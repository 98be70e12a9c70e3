"""A corpus of broken and hostile models. Each is refused with what and why; no code runs, and time and memory stay bounded."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import writers
from safetensors.torch import save_file

pytestmark = pytest.mark.slow

K = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"  # (8, 16) in the tiny UNet
UNET = "unet/diffusion_pytorch_model.safetensors"
BIG = 2_000_000  # numbers of a tensor that makes a file of 8 MB

# Runs in a process of its own: every path in turn through both doors, with the peak of memory over where it stood before.
PROBE = """
import json, os, sys, time
from dmun_audit._util.errors import UsageError
from dmun_audit.models.headers import cheap_check
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference
base = parse_reference(sys.argv[1])
load_pipeline(base)  # imports what any load imports
ran = os.path.join(sys.argv[2], "ran")

def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key + ":")) * 1024

for path in sys.argv[3:]:
    open("/proc/self/clear_refs", "w").write("5")  # the peak of memory starts again
    before, outcomes = status("VmRSS"), []
    for door in (lambda m: cheap_check(m, base), lambda m: load_candidate(m, base)):
        try:
            door(parse_reference(path))
        except UsageError as error:
            outcomes.append([error.what, error.why])
        else:
            outcomes.append(None)
    peak = status("VmHWM") - before
    print(json.dumps({"path": path, "outcomes": outcomes, "peak": peak, "ran": os.path.exists(ran)}), flush=True)
"""


class Payload:
    """Unpickling it leaves a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class Evaluated(Payload):
    def __reduce__(self):
        return eval, (f"open({self.marker!r}, 'w')",)


def _header(path, table, data=b"", length=None):
    text = json.dumps(table).encode() if not isinstance(table, bytes) else table
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def _entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _safetensors(folder):
    """Broken safetensors files."""
    good = {K: torch.randn(8, 16)}
    big = {**good, "junk": torch.zeros(BIG)}
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "seven-bytes.safetensors").write_bytes(b"\1\0\0\0\0\0\0")
    (folder / "page.safetensors").write_text("<!doctype html><title>404</title>")
    (folder / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n")
    _header(folder / "length-of-a-petabyte.safetensors", {K: _entry([1], 0, 4)}, b"1234", length=1 << 50)
    _header(folder / "no-json.safetensors", b"{" + b"\xff" * 200)
    _header(folder / "deep-json.safetensors", b'{"a":' + b"[" * 100_000)
    _header(folder / "a-list.safetensors", [])
    _header(folder / "metadata-of-numbers.safetensors", {"__metadata__": {"rank": 1}})
    _header(folder / "past-the-end.safetensors", {K: _entry([8, 16], 0, 512)}, bytes(100))
    _header(folder / "terabytes.safetensors", {K: _entry([1 << 38], 0, 1 << 40)}, bytes(512))
    _header(folder / "negative.safetensors", {K: _entry([8, 16], -512, 0)}, bytes(512))
    _header(folder / "backwards.safetensors", {K: _entry([8, 16], 512, 0)}, bytes(512))
    _header(folder / "overlap.safetensors", {K: _entry([8, 16], 0, 512), "conv_in.bias": _entry([8], 0, 32)}, bytes(512))
    _header(folder / "gap.safetensors", {K: _entry([8, 16], 64, 576)}, bytes(576))
    _header(folder / "too-many-bytes.safetensors", {K: _entry([8, 16], 0, 512)}, bytes(600))
    _header(folder / "shape-that-lies.safetensors", {K: _entry([8, 17], 0, 512)}, bytes(512))
    _header(folder / "unknown-type.safetensors", {K: _entry([8, 16], 0, 512, "F31")}, bytes(512))
    save_file(big, folder / "cut.safetensors")
    whole = (folder / "cut.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-1])
    save_file(big, folder / "unknown-name.safetensors")
    save_file({K: torch.zeros(BIG)}, folder / "large-and-misshapen.safetensors")
    save_file({K: torch.randn(16, 8)}, folder / "transposed.safetensors")
    _header(
        folder / "numbers-without-end.safetensors",
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 4000 + b"," + b"9" * 4000 + b'],"data_offsets":[0,4]}}',
        b"1234",
    )
    _header(folder / "lists-without-end.safetensors", b'{"a":[' + b"[]," * 2_000_000 + b"[]]}")
    _header(folder / "texts-without-end.safetensors", b'{"a":[' + b'"",' * 2_000_000 + b'""]}')
    _header(folder / "tensors-without-end.safetensors", {f"t{number}": _entry([0], 0, 0) for number in range(150_000)})
    save_file({"net." * 50_000 + "x": torch.ones(1)}, folder / "name-without-end.safetensors")
    save_file({K: torch.full((8, 16), float("nan"))}, folder / "nan.safetensors")
    save_file({K: torch.full((8, 16), float("inf"))}, folder / "inf.safetensors")
    save_file({K: torch.zeros(8, 16, dtype=torch.int8)}, folder / "int8.safetensors")
    save_file({K: torch.zeros(8, 16, dtype=torch.float8_e4m3fn)}, folder / "float8.safetensors")


def _pickles(folder, marker):
    """Broken and hostile pickles."""
    good = {K: torch.randn(8, 16)}
    torch.save({**good, "x": Payload(marker)}, folder / "system.pt")
    torch.save({**good, "x": Evaluated(marker)}, folder / "eval.ckpt")
    torch.save({"state_dict": {"deep": [[{"er": Payload(marker)}]]}}, folder / "nested.bin")
    torch.save({**good, "x": Payload(marker)}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    (folder / "bare.pt").write_bytes(pickle.dumps(Payload(marker), protocol=4))
    (folder / "opcodes-of-old.pt").write_bytes(f"(S'touch {marker}'\nios\nsystem\n.".encode())
    (folder / "renamed.safetensors").write_bytes(pickle.dumps(Payload(marker), protocol=2))
    torch.save(torch.nn.Linear(2, 2), folder / "a-module.pt")
    torch.save([torch.ones(2)], folder / "a-list.pt")
    torch.save({K: torch.eye(8, 16).to_sparse()}, folder / "sparse.pt")
    torch.save({K: torch.zeros(1).expand(1 << 40)}, folder / "expanded.pt")
    torch.save({"lora_unet_conv_in.lora_down.weight": torch.zeros(1).expand(1 << 30, 4, 3, 3)}, folder / "expanded-lora.pt")
    torch.save({**good, "junk": torch.zeros(BIG)}, folder / "cut.pt")
    whole = (folder / "cut.pt").read_bytes()
    (folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({**good, "junk": torch.zeros(BIG)}, folder / "cut-legacy.pt", _use_new_zipfile_serialization=False)
    whole = (folder / "cut-legacy.pt").read_bytes()
    (folder / "cut-legacy.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({**good, "conv_in.bias": torch.full((8,), float("nan")), "junk": torch.zeros(BIG)}, folder / "nan.pt")
    torch.save({"state_dict": {K: torch.randn(8, 16)}, "state_dict." + K: torch.randn(8, 16)}, folder / "twice.pt")
    torch.save({K: torch.randint(0, 2, (8, 16)).float(), **_masks()}, folder / "mask.pt")
    many = {str(number): number for number in range(400)}
    for _ in range(4):
        many = dict.fromkeys(range(400), many)
    torch.save(many, folder / "dictionaries-without-end.pt")
    doubled = b"".join(b"q\x01h\x01\x86" for _ in range(60))
    (folder / "tuples-without-end.pt").write_bytes(b"\x80\x02}()" + doubled + b"K\x01u.")
    (folder / "steps-without-end.pt").write_bytes(b"\x80\x02" + b"N0" * 4_000_000 + b"N.")
    with zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        bomb.writestr("archive/data/0", bytes(300_000_000))
    (folder / "two-files-in-one.pt").write_bytes(b"\x80\x02}()" + doubled + b"K\x01u.")
    with zipfile.ZipFile(folder / "two-files-in-one.pt", "a") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
    torch.save({"unet": {K: torch.randn(8, 16)}, "text_encoder": [torch.ones(2)]}, folder / "tensors-in-a-list.pt")
    torch.save({"string_to_param": {"*": torch.ones(16), "+": torch.ones(16)}, "name": "x"}, folder / "two-words-in-one.pt")
    with zipfile.ZipFile(folder / "no-pickle.pt", "w") as archive:
        archive.writestr("archive/data/0", bytes(100))
    with zipfile.ZipFile(folder / "two-pickles.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("b/data.pkl", pickle.dumps(Payload(marker), protocol=2))


def _masks():
    return {"conv_in.weight": torch.ones(8, 4, 3, 3), "down_blocks.0.resnets.0.conv1.weight": torch.zeros(8, 8, 3, 3)} | {
        "mid_block.resnets.0.conv1.weight": torch.ones(16, 16, 3, 3)
    }


def _adapters(folder):
    """Adapters that are not whole."""
    module = K.removesuffix(".weight")
    pair = writers.kohya({module: torch.zeros(8, 16)})
    down, up, alpha = pair
    save_file({down: pair[down]}, folder / "half-a-lora.safetensors")
    save_file({**pair, alpha: torch.tensor(float("nan"))}, folder / "alpha-of-nan.safetensors")
    save_file({**pair, up: torch.full_like(pair[up], float("inf"))}, folder / "infinite-lora.safetensors")
    save_file({**pair, down: torch.ones(2, 17)}, folder / "lora-of-another-width.safetensors")
    save_file({down: torch.ones(0, 16), up: torch.ones(8, 0)}, folder / "lora-of-rank-0.safetensors")
    writers.save_spm(folder / "spm-without-a-prompt.safetensors", pair, [""], 1, 1.0)
    writers.save_spm(folder / "spm-of-rank-nothing.safetensors", pair, ["a"], "nothing", 1.0)
    torch.save(
        {"mid_block.attentions.0": {"down.weight": torch.ones(2, 16), "up.weight": torch.ones(16, 2)}}, folder / "eraser.pt"
    )
    torch.save({"<gogh>": torch.ones(17)}, folder / "word-of-another-width.bin")
    torch.save({"<gogh>": torch.full((16,), float("nan"))}, folder / "word-of-nan.bin")
    (folder / "peft").mkdir()
    save_file(
        {
            f"base_model.model.{module}.lora_A.weight": torch.ones(2, 16),
            f"base_model.model.{module}.lora_B.weight": torch.ones(8, 2),
        },
        folder / "peft/adapter_model.safetensors",
    )
    (folder / "peft/adapter_config.json").write_text("[" * 100_000)
    (folder / "two-files").mkdir()
    for name in ("one", "two"):
        save_file({K: torch.randn(8, 16)}, folder / f"two-files/{name}.safetensors")


def _folders(folder, base, marker):
    """Pipeline folders that are not what they should be."""

    def copied(name):
        return Path(shutil.copytree(base, folder / name))

    link = copied("link-out")
    shutil.move(link / UNET, folder / "elsewhere")
    (link / UNET).symlink_to(folder / "elsewhere")
    link = copied("link-to-a-system-file")
    (link / "text_encoder/config.json").unlink()
    (link / "text_encoder/config.json").symlink_to("/etc/passwd")
    code = copied("own-code")
    index = json.loads((code / "model_index.json").read_text())
    (code / "model_index.json").write_text(json.dumps(index | {"unet": ["my_unet", "MyUNet"]}))
    (code / "unet/my_unet.py").write_text(f"open({str(marker)!r}, 'w')")
    own = copied("own-pipeline")
    (own / "model_index.json").write_text(json.dumps(index | {"_class_name": ["pipeline", "Mine"]}))
    (own / "pipeline.py").write_text(f"open({str(marker)!r}, 'w')")
    pickled = copied("pickled-unet")
    (pickled / UNET).unlink()
    torch.save({"x": Payload(marker)}, pickled / "unet/diffusion_pytorch_model.bin")
    cut = copied("cut-component")
    (cut / UNET).write_bytes((cut / UNET).read_bytes()[:-4])
    (copied("no-unet") / UNET).unlink()
    config = copied("config-of-nothing")
    (config / "unet/config.json").write_text("{}")
    (copied("index-of-nothing") / "model_index.json").write_text("[" * 100_000)
    (folder / "elsewhere").unlink()
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe/model.safetensors")
    round_and_round = copied("links-in-a-circle")
    (round_and_round / "one").symlink_to("two")
    (round_and_round / "two").symlink_to("one")
    traversal = folder / "images"
    traversal.mkdir()
    (traversal / "metadata.jsonl").write_text('{"file_name": "../../../../etc/passwd", "prompt": "a", "seed": 1}\n')
    (folder / "no-images").mkdir()
    (folder / "no-images/metadata.jsonl").write_text('{"file_name": "0.png", "prompt": "a"}\n')


@pytest.fixture(scope="module")
def probed(base_folder, tmp_path_factory):
    """What became of every file of the corpus: path, [outcome of the early check, of the load], peak of memory."""
    folder = tmp_path_factory.mktemp("corpus")
    marker = tmp_path_factory.mktemp("marker") / "ran"
    _safetensors(folder)
    _pickles(folder, marker)
    _adapters(folder)
    _folders(folder, base_folder, marker)
    paths = [f"images:{path}" if "images" in path.name else str(path) for path in sorted(folder.iterdir())]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PROBE, str(base_folder), str(marker.parent), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], len(paths)


def _size(path):
    path = Path(path.removeprefix("images:"))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


@pytest.mark.slow
def test_every_file_is_refused_with_what_and_why(probed):
    results, count = probed
    assert len(results) == count >= 70
    loaded = [result["path"] for result in results if result["outcomes"][1] is None]
    assert not loaded
    for result in results:
        what, why = result["outcomes"][1]
        name = Path(result["path"].removeprefix("images:")).name
        assert name in what, result
        assert why or len(what) > len(result["path"]) + 20, result


def test_what_was_refused_early_was_refused_for_the_same_reason(probed):
    results, _ = probed
    early = [result for result in results if result["outcomes"][0] is not None]
    assert len(early) >= 50
    for result in early:
        assert Path(result["path"]).name in result["outcomes"][0][0], result


def test_no_code_ran(probed):
    assert not any(result["ran"] for result in probed[0])


def test_memory_stays_within_twice_the_file_and_64_megabytes(probed):
    over = {
        Path(result["path"]).name: f"{result['peak'] / 1e6:.0f} MB for a file of {_size(result['path']) / 1e6:.1f} MB"
        for result in probed[0]
        if result["peak"] > 2 * _size(result["path"]) + 64 * 2**20
    }
    assert not over
