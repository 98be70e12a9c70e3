"""Broken and hostile files as torch.save writes them, and adapters that are not whole."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import torch
import writers
from hostile_safetensors import BIG, K
from safetensors.torch import save_file


class Payload:
    """Unpickling it leaves a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class Evaluated(Payload):
    def __reduce__(self):
        return eval, (f"open({self.marker!r}, 'w')",)


def write_pickles(folder, marker):
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


def write_adapters(folder):
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
