"""Damaged, dangerous and foreign weights files: one LoadError each, nothing loaded, no code run."""

from __future__ import annotations

import collections
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from dmun_audit.errors import LoadError, UsageError  # noqa: E402
from dmun_audit.models.fingerprint import weights_digest  # noqa: E402
from dmun_audit.models.headers import cheap_check  # noqa: E402
from dmun_audit.models.loading import load_candidate  # noqa: E402
from dmun_audit.references import parse_reference  # noqa: E402

NAME = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
UNET = "unet/diffusion_pytorch_model.safetensors"


class Marker:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


class Spawner(Marker):
    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def _reference(path):
    return parse_reference(str(path))


@pytest.fixture
def refused(base_model, base_folder):
    """Have a file refused by the check before torch and by the loading itself; return both messages, the base untouched."""

    def refuse(path: Path, *, early: bool = True) -> str:
        messages = []
        if early:
            with pytest.raises(LoadError) as caught:
                cheap_check(_reference(path), _reference(base_folder))
            messages.append(str(caught.value))
        with pytest.raises(LoadError) as caught:
            load_candidate(_reference(path), base_model)
        messages.append(str(caught.value))
        assert all(str(path) in message for message in messages)
        assert weights_digest(base_model.pipeline) == base_model.weights_digest
        return "\n".join(messages)

    return refuse


def _with_header(path: Path, table: dict, data: bytes = b"") -> Path:
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


# Names and shapes.


def test_keys_that_match_nothing(refused, tmp_path, edit):
    path = tmp_path / "odd.safetensors"
    save_file({name.replace("attn2", "attn9"): tensor for name, tensor in edit.items()}, path)
    message = refused(path)
    assert f"{NAME.replace('attn2', 'attn9')!r}" in message
    assert "(closest: 'down_blocks.0." in message
    assert f"{len(edit)} of its {len(edit)} tensors" in message


def test_one_key_too_many(refused, tmp_path, edit):
    save_file({**edit, "conv_inn.bias": torch.ones(8)}, tmp_path / "odd.safetensors")
    assert "'conv_inn.bias' (closest: 'conv_in.bias')" in refused(tmp_path / "odd.safetensors")


def test_names_of_no_known_format(refused, tmp_path):
    save_file({"x.y": torch.ones(1)}, tmp_path / "odd.safetensors")
    assert "'x.y'" in refused(tmp_path / "odd.safetensors")


def test_another_shape(refused, tmp_path, edit):
    save_file({**edit, NAME: torch.ones(3, 5)}, tmp_path / "odd.safetensors")
    message = refused(tmp_path / "odd.safetensors")
    assert NAME in message
    assert "[3, 5]" in message
    assert str(list(edit[NAME].shape)) in message


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_no_number(refused, tmp_path, edit, number):
    save_file({**edit, NAME: torch.full_like(edit[NAME], number)}, tmp_path / "odd.safetensors")
    assert NAME in refused(tmp_path / "odd.safetensors", early=False)


def test_numbers_too_large_for_the_type_they_are_loaded_in(base_folder, tmp_path, edit):
    save_file({**edit, NAME: torch.full_like(edit[NAME], 1e5)}, tmp_path / "odd.safetensors")
    with pytest.raises(LoadError, match="infinite"):
        load_candidate(_reference(tmp_path / "odd.safetensors"), _reference(base_folder), dtype="float16")


def test_quantised_weights(refused, tmp_path, edit):
    save_file({**edit, NAME: edit[NAME].to(torch.int8)}, tmp_path / "odd.safetensors")
    assert f"{NAME!r} is of type I8" in refused(tmp_path / "odd.safetensors", early=False)


# Other formats.


@pytest.mark.parametrize(
    ("name", "metadata", "words"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", {}, "weights in CompVis names"),
        ("lora_unet_down_blocks_0_attn2_to_k.lora_down.weight", {}, "a LoRA"),
        ("unet.down_blocks.0.attn2.to_k.lora_A.weight", {}, "a LoRA"),
        ("unet.down_blocks.0.attn2.to_k.lora.up.weight", {}, "a LoRA"),
        ("lora_unet_down_blocks_0_attn2_to_k.lora_down.weight", {"prompts": "van gogh"}, "an SPM"),
        ("text_model.encoder.layers.0.mlp.fc1.weight", {}, "text_encoder"),
        ("text_encoder.text_model.final_layer_norm.bias", {}, "text_encoder"),
        ("embeddings.token_embedding.weight", {}, "text_encoder"),
        ("unet.conv_in.weight", {}, "unet"),
        ("decoder.conv_in.weight", {}, "vae"),
        ("transformer_blocks.0.attn.to_k.weight", {}, "weights in diffusers names"),
        ("down_blocks.0.attentions.0.down.weight", {}, "Receler"),
        ("<van-gogh>", {}, "a textual inversion"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_format(refused, tmp_path, name, metadata, words):
    save_file({name: torch.ones(2)}, tmp_path / "other.safetensors", metadata=metadata)
    message = refused(tmp_path / "other.safetensors")
    assert message.count(words) >= 2
    assert message.count(repr(name)) >= 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"unet": {NAME: torch.ones(1)}}, f"tensor 'unet.{NAME}' has another shape"),
        ({"state_dict": {"model.diffusion_model.out.2.bias": torch.ones(1)}}, "weights in CompVis names"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({}, "no tensors"),
        ({"epoch": 3, "state_dict": {}}, "no tensors"),
    ],
)
def test_pickles_of_other_content_are_refused(refused, tmp_path, content, words):
    torch.save(content, tmp_path / "other.pt")
    assert words in refused(tmp_path / "other.pt", early=False)


def test_the_content_decides_and_not_the_suffix(base_model, tmp_path, edit):
    save_file(edit, tmp_path / "a.bin")
    torch.save(edit, tmp_path / "b.safetensors")
    loaded = [load_candidate(_reference(tmp_path / name), base_model) for name in ("a.bin", "b.safetensors")]
    assert [model.proof["format"] for model in loaded] == [
        f"partial unet ({container}, diffusers names)" for container in ("safetensors", "state dict")
    ]
    assert loaded[0].weights_digest == loaded[1].weights_digest


# Damaged safetensors.


def test_empty_and_text_files(refused, tmp_path):
    for suffix in (".safetensors", ".pt"):
        (tmp_path / f"empty{suffix}").write_bytes(b"")
        assert "it is empty" in refused(tmp_path / f"empty{suffix}")
        (tmp_path / f"text{suffix}").write_text("<html>not found</html>")
        refused(tmp_path / f"text{suffix}")
    (tmp_path / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n")
    assert "Git LFS" in refused(tmp_path / "lfs.safetensors")


def test_every_truncation_is_noticed(refused, tmp_path, edit, base_folder):
    save_file(edit, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in [*range(1, 64), *range(64, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(LoadError, match=r"cut\.safetensors"):
            cheap_check(_reference(path), _reference(base_folder))
    assert "cut off" in refused(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 1 << 60]},
        {"dtype": "F32", "shape": [1 << 58], "data_offsets": [0, 1 << 60]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [-16, 0]},
        {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]},
        {"dtype": "F99", "shape": [2, 2], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": "2x2", "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]},
        [0, 16],
    ],
)
def test_headers_that_lie(refused, tmp_path, entry):
    path = _with_header(tmp_path / "lie.safetensors", {NAME: entry}, bytes(16))
    message = refused(path)
    assert NAME in message or "tensors take 4 bytes" in message


def test_tensors_that_overlap(refused, tmp_path):
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    path = _with_header(tmp_path / "lie.safetensors", {"conv_in.bias": one, "conv_out.bias": one}, bytes(16))
    assert "'conv_out.bias' begins at byte 0" in refused(path)


@pytest.mark.parametrize("start", [(1 << 63).to_bytes(8, "little"), (200_000_000).to_bytes(8, "little"), bytes(8)])
def test_absurd_header_lengths(refused, tmp_path, start):
    (tmp_path / "absurd.safetensors").write_bytes(start + b"{}" + bytes(64))
    refused(tmp_path / "absurd.safetensors")


def test_header_that_is_no_table(refused, tmp_path):
    for number, table in enumerate(([], "text", {"__metadata__": {"prompts": 1}})):
        refused(_with_header(tmp_path / f"{number}.safetensors", table))
    (tmp_path / "deep.safetensors").write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    refused(tmp_path / "deep.safetensors")


# Pickles.


@pytest.mark.parametrize("kind", [Marker, Spawner])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_does_not_run(refused, tmp_path, edit, kind, legacy, protocol):
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pt"
    torch.save({**edit, "x": kind(marker)}, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    assert "its pickle would call" in refused(path)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_pickle_does_not_run(refused, tmp_path, protocol):
    marker = tmp_path / "ran"
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Spawner(marker), protocol=protocol))
    message = refused(tmp_path / "evil.bin")
    assert "system" in message or protocol < 2
    assert not marker.exists()


def test_the_called_global_is_named(refused, tmp_path):
    torch.save({"x": collections.Counter("a"), "y": pytest.Config.__new__}, tmp_path / "odd.pt")
    assert "collections.Counter" in refused(tmp_path / "odd.pt")


def test_code_in_a_component_of_a_folder_does_not_run(copied, base_model, base_folder, tmp_path):
    marker = tmp_path / "ran"
    (copied / UNET).unlink()
    torch.save({"x": Spawner(marker)}, copied / "unet/diffusion_pytorch_model.bin")
    for check in (
        lambda: cheap_check(_reference(copied), _reference(base_folder)),
        lambda: load_candidate(_reference(copied), base_model),
    ):
        with pytest.raises(LoadError, match=r"diffusion_pytorch_model\.bin was not opened"):
            check()
    assert not marker.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_pickles(refused, tmp_path, edit, legacy):
    torch.save(edit, tmp_path / "whole.pt", _use_new_zipfile_serialization=not legacy)
    whole = (tmp_path / "whole.pt").read_bytes()
    for share in (0.01, 0.3, 0.9, 0.999):
        (tmp_path / "cut.pt").write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path / "cut.pt", early=not legacy)


def test_a_compressed_archive_is_refused(refused, tmp_path, edit):
    torch.save(edit, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry))
        bomb.writestr("archive/data/99", bytes(50_000_000))
    assert "compressed" in refused(tmp_path / "bomb.pt")


def test_a_tensor_that_claims_to_be_huge_is_refused(refused, tmp_path):
    huge = torch.zeros(1).expand(1 << 40)
    torch.save({NAME: huge}, tmp_path / "huge.pt")
    assert f"[{1 << 40}]" in refused(tmp_path / "huge.pt", early=False)


# Folders.


def test_a_link_out_of_the_folder_is_refused(copied, base_model, tmp_path):
    (tmp_path / "elsewhere.safetensors").write_bytes((copied / UNET).read_bytes())
    (copied / UNET).unlink()
    (copied / UNET).symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(LoadError, match=r"(?s)leads out of the folder.*elsewhere"):
        load_candidate(_reference(copied), base_model)


def test_links_of_a_hub_cache_are_followed(copied, base_model, tmp_path):
    snapshot = tmp_path / "models--a--b/snapshots/0f"
    (tmp_path / "models--a--b/blobs").mkdir(parents=True)
    snapshot.parent.mkdir()
    copied.rename(snapshot)
    blob = tmp_path / "models--a--b/blobs/123"
    (snapshot / UNET).rename(blob)
    (snapshot / UNET).symlink_to("../../../blobs/123")
    assert load_candidate(_reference(snapshot), base_model).weights_digest == base_model.weights_digest
    (snapshot / UNET).unlink()
    (snapshot / UNET).symlink_to(tmp_path / "models--a--b/123")
    with pytest.raises(LoadError, match="leads out"):
        load_candidate(_reference(snapshot), base_model)


def test_a_truncated_folder_names_its_file(copied, base_model, base_folder):
    (copied / UNET).write_bytes((copied / UNET).read_bytes()[:-1])
    for check in (
        lambda: cheap_check(_reference(copied), _reference(base_folder)),
        lambda: load_candidate(_reference(copied), base_model),
    ):
        with pytest.raises(LoadError, match=r"diffusion_pytorch_model\.safetensors"):
            check()


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"_class_name": ["mine", "Pipeline"]}', '{"_class_name": "Nothing"}'])
def test_an_index_that_names_no_pipeline(copied, base_model, index):
    (copied / "model_index.json").write_text(index)
    with pytest.raises(LoadError, match="copy"):
        load_candidate(_reference(copied), base_model)


def test_code_beside_the_weights_is_refused(copied, base_model):
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps(index | {"unet": ["my_unet", "MyUNet"]}))
    (copied / "unet/my_unet.py").write_text("raise SystemExit('ran')")
    with pytest.raises(LoadError, match="'my_unet'"):
        load_candidate(_reference(copied), base_model)


# Before torch.


def test_a_base_is_a_complete_model(tmp_path, edit, base_folder):
    save_file(edit, tmp_path / "uce.safetensors")
    with pytest.raises(UsageError, match="complete model"):
        cheap_check(_reference(base_folder), _reference(tmp_path / "uce.safetensors"))


def test_good_files_pass_the_early_check(tmp_path, edit, base_folder):
    save_file(edit, tmp_path / "uce.safetensors")
    torch.save(edit, tmp_path / "uce.pt")
    torch.save({name: torch.nn.Parameter(tensor.bfloat16()) for name, tensor in edit.items()}, tmp_path / "parameters.pt")
    torch.save(edit, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    for name in ("uce.safetensors", "uce.pt", "parameters.pt", "old.ckpt"):
        cheap_check(_reference(tmp_path / name), _reference(base_folder))
    cheap_check(_reference(tmp_path / "uce.safetensors"), parse_reference("owner/name"))
    assert load_file(tmp_path / "uce.safetensors").keys() == edit.keys()


def test_a_header_length_that_looks_like_a_pickle_is_read_as_safetensors(tmp_path, base_model, edit):
    path = tmp_path / "padded.safetensors"
    save_file(edit, path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    padded = length + (0x80 - length) % 256
    path.write_bytes(padded.to_bytes(8, "little") + raw[8 : 8 + length] + b" " * (padded - length) + raw[8 + length :])
    assert path.read_bytes()[0] == 0x80
    assert load_candidate(_reference(path), base_model).proof["matched"] == len(edit)


def test_the_early_check_imports_no_torch(tmp_path, edit, base_folder):
    save_file(edit, tmp_path / "uce.safetensors")
    script = (
        "import sys; from dmun_audit import references; from dmun_audit.models.headers import cheap_check\n"
        "base, model = map(references.parse_reference, sys.argv[1:])\n"
        "cheap_check(model, base); references.source_digest(model)\n"
        "assert not {'torch', 'diffusers', 'transformers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(base_folder), str(tmp_path / "uce.safetensors")], check=True)
