"""Measures time and memory of `dmun-audit inspect --quick` on a checkpoint with five gigabytes of random weights.

Builds a pipeline folder with the architecture of Stable Diffusion 1.5, the base. Then builds a checkpoint in CompVis names
from its UNet, autoencoder and text encoder plus EMA weights, as safetensors and as `.ckpt`, and inspects each in a separate
process. Needs about 16 GB of disk and 12 GB of memory.

    python -m benchmarks.inspect_headers [FOLDER]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LEAST = 5_000_000_000  # smallest size of a checkpoint in bytes
COMMAND = """
import sys
from dmun_audit.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")), file=sys.stderr)
sys.exit(code)
"""


def build_base(folder: Path) -> Any:
    """A pipeline with the sizes of SD 1.5 and random weights, saved in `folder`."""
    from dmun_audit._util import torchvision_compatibility

    torchvision_compatibility.make_importable()
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    words = folder / "words"
    words.mkdir(parents=True)
    (words / "vocab.json").write_text('{"a</w>": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}')
    (words / "merges.txt").write_text("#version: 0.2\n")
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        ),
        tokenizer=CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt")),
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "base")
    return pipeline


def write_checkpoints(pipeline: Any, folder: Path) -> list[Path]:
    """Write the weights of the pipeline in CompVis names, with EMA weights up to five gigabytes."""
    import torch
    from safetensors.torch import save_file

    from dmun_audit.models.artifacts.naming import compvis_unet, compvis_vae

    unet, vae, text = (network.state_dict() for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder))
    tensors = {f"model.diffusion_model.{older}": unet[name] for older, name in compvis_unet(unet).items()}
    tensors |= {f"first_stage_model.{older}": vae[name] for older, name in compvis_vae(vae).items()}
    tensors |= {f"cond_stage_model.transformer.text_model.{name}": tensor for name, tensor in text.items()}
    size = sum(tensor.numel() * 4 for tensor in tensors.values())
    for name in list(tensors):
        if size < LEAST and name.startswith("model."):
            tensors["model_ema." + name.removeprefix("model.").replace(".", "")] = torch.randn(tensors[name].shape)
            size += tensors[name].numel() * 4
    paths = [folder / "checkpoint.safetensors", folder / "checkpoint.ckpt"]
    save_file(tensors, paths[0])
    torch.save({"state_dict": tensors, "global_step": 1}, paths[1])
    return paths


def measure(path: Path, base: Path) -> str:
    """Run the command; return wall time and peak memory as one line."""
    started = time.monotonic()
    command = [sys.executable, "-c", COMMAND, "inspect", str(path), f"--base={base}", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    peak = int(done.stderr.split()[-1]) * 1024
    return (
        f"{path.name:<24}{path.stat().st_size / 1e9:5.2f} GB{seconds:8.1f} s{peak / 1e6:8.0f} MB   {done.stdout.splitlines()[0]}"
    )


def main() -> None:
    """Build, measure, print one line for each file."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        paths = write_checkpoints(build_base(Path(folder)), Path(folder))
        print(f"{'file':<24}{'size':>8}{'time':>10}{'peak':>11}")
        for path in paths:
            print(measure(path, Path(folder) / "base"), flush=True)


if __name__ == "__main__":
    main()
