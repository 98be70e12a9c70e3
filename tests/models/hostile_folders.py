"""Pipeline folders that are not what they should be: links, code of their own, damaged parts, no regular files."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import torch
from hostile_state_dicts import Payload

UNET = "unet/diffusion_pytorch_model.safetensors"


def write_folders(folder, base, marker):
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


def write_irregular(folder, base, marker):
    """Links, pipes, sockets and folders in the place of files."""

    def copied(name):
        return Path(shutil.copytree(base, folder / f"folder-{name}"))

    def replaced(name, file, replacement):
        copy = copied(name)
        (copy / file).unlink()
        replacement(copy / file)

    replaced("link-to-itself", UNET, lambda path: path.symlink_to(path.name))
    replaced("link-to-zeros", UNET, lambda path: path.symlink_to("/dev/zero"))
    replaced("link-to-the-environment", "unet/config.json", lambda path: path.symlink_to("/proc/self/environ"))
    replaced("link-to-the-root", "unet/config.json", lambda path: path.symlink_to("/"))
    replaced("link-to-nothing", "vae/config.json", lambda path: path.symlink_to("/nowhere/config.json"))
    replaced("pipe-for-a-configuration", "unet/config.json", os.mkfifo)
    replaced("pipe-for-weights", UNET, os.mkfifo)
    replaced("pipe-for-an-index", "model_index.json", os.mkfifo)
    replaced("pipe-for-words", "tokenizer/tokenizer.json", os.mkfifo)
    replaced("socket-for-a-configuration", "scheduler/scheduler_config.json", _socket)
    replaced("folder-for-a-configuration", "unet/config.json", Path.mkdir)
    replaced("folder-for-weights", UNET, Path.mkdir)
    linked = copied("component-elsewhere")
    (linked / "unet").rename(marker.parent / "unet")
    (linked / "unet").symlink_to(marker.parent / "unet")
    (copied("link-to-the-parent") / "unet/further").symlink_to("../..")
    (copied("link-out-beside") / "notes.txt").symlink_to("/etc/hostname")
    decoy = copied("pickle-beside-a-decoy")
    (decoy / UNET).rename(decoy / "unet/decoy.safetensors")
    torch.save({"x": Payload(marker)}, decoy / "unet/diffusion_pytorch_model.bin")


def write_indexes(folder, base):
    """Indices of shards that lead out of their folder, or say nothing."""
    tensor = "conv_in.weight"
    indexes = {
        "outside": {"weight_map": {tensor: "../../../../etc/passwd"}},
        "absolute": {"weight_map": {tensor: "/etc/passwd"}},
        "windows": {"weight_map": {tensor: "..\\..\\secret.safetensors"}},
        "another-component": {"weight_map": {tensor: "../vae/diffusion_pytorch_model.safetensors"}},
        "numbers": {"weight_map": {tensor: 7}},
        "no-map": {"metadata": {"total_size": 1}},
        "a-list": [],
        "missing-shard": {"weight_map": {tensor: "diffusion_pytorch_model-00001-of-00009.safetensors"}},
    }
    for name, table in indexes.items():
        copy = Path(shutil.copytree(base, folder / f"index-{name}"))
        (copy / UNET).rename(copy / UNET.replace(".safetensors", "-00001-of-00002.safetensors"))
        (copy / f"{UNET}.index.json").write_text(json.dumps(table))


def _socket(path):
    place = os.getcwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(place)
