"""Folders of images: one picture counts once, and pixels are what the file says, or the file is refused."""

from __future__ import annotations

import json
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image

from dmun_audit._util.errors import LoadError
from dmun_audit.models.external_images import ImageFolder
from dmun_audit.models.image_files import MOST_PIXELS, read_image
from dmun_audit.models.references import parse_reference


def picture(number, size=(8, 8)):
    return np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Write images and their list; gives the folder as the audit opens it, with every image expected."""

    def write(entries, pictures, suffix=".png", before=""):
        place = tmp_path / "images"
        place.mkdir()
        for number, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(place / f"{number}{suffix}")
        lines = [json.dumps({"file_name": f"{number}{suffix}"} | entry) for number, entry in enumerate(entries)]
        (place / "metadata.jsonl").write_text(before + "\n".join(lines), encoding="utf-8")
        images = ImageFolder(parse_reference(f"images:{place}"))
        images.expect([(entry["prompt"], entry.get("seed", number)) for number, entry in enumerate(entries)])
        return images

    return write


def entries(*pairs):
    return [{"prompt": prompt} | ({} if seed is None else {"seed": seed}) for prompt, seed in pairs]


# One picture for many seeds.


def test_a_file_that_is_listed_twice_is_refused_and_both_entries_are_named(folder):
    same = [{"prompt": "a", "seed": 1}, {"prompt": "a", "seed": 2, "file_name": "0.png"}]
    with pytest.raises(LoadError, match=r"(?s)line 1 \('0\.png', 'a' with seed 1\) and line 2 .*seed 2.*the same file"):
        folder(same, [picture(0)])


def test_a_link_to_a_listed_file_is_that_file(folder, tmp_path):
    images = entries(("a", 1), ("a", 2))
    folder(images, [picture(0), picture(1)])
    (tmp_path / "images/1.png").unlink()
    (tmp_path / "images/1.png").symlink_to("0.png")
    with pytest.raises(LoadError, match="the same file"):
        ImageFolder(parse_reference(f"images:{tmp_path / 'images'}"))


@pytest.mark.parametrize("seeds", [((5, 6)), ((None, None))])
@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_the_same_pixels_for_two_seeds_are_refused_and_both_entries_are_named(folder, seeds, suffix):
    images = folder(entries(("a", seeds[0]), ("a", seeds[1]), ("b", seeds[1])), [picture(0), picture(0), picture(1)], suffix)
    with pytest.raises(LoadError, match=rf"(?s)one picture twice: line 1 \('0\{suffix}'.*and line 2 .*the same pixels"):
        images.refuse_repeats()


def test_the_same_pixels_in_another_format_are_refused(folder, tmp_path):
    images = folder(entries(("a", 1), ("b", 2)), [picture(0), picture(1)])
    Image.fromarray(picture(0)).save(tmp_path / "images/1.png", compress_level=0)
    with pytest.raises(LoadError, match="the same pixels"):
        images.refuse_repeats()


@pytest.mark.parametrize("colour", [0, 255, 128])
def test_images_of_one_colour_are_left_to_the_audit(folder, colour):
    """A broken model or a safety filter gives them for any seed. The audit counts them, and fails the model."""
    black = np.full((8, 8, 3), colour, np.uint8)
    folder(entries(("a", 1), ("a", 2), ("b", 3)), [black] * 3).refuse_repeats()


def test_prompts_that_a_model_exchanges_give_the_same_pixels_with_the_same_seed(folder):
    folder(entries(("a", 1), ("b", 1)), [picture(0), picture(0)]).refuse_repeats()


def test_an_audit_refuses_such_a_folder_before_anything_is_loaded(tmp_path):
    from dmun_audit.config.options import Options
    from dmun_audit.config.resolve import requests_of, resolve

    options = Options(base="atelier:base", model=f"images:{tmp_path}", target="Van Gogh", policy="smoke", root=str(tmp_path))
    lines = []
    for number, request in enumerate(requests_of(options)):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "prompt": request.prompt, "seed": request.seed}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    resolve(options)
    shutil.copy(tmp_path / "0.png", tmp_path / "1.png")
    with pytest.raises(LoadError, match=r"line 1 \('0\.png'.* and line 2 \('1\.png'"):
        resolve(options)


# Sizes and modes.


def test_other_sizes_and_modes_than_the_bases_are_warnings(folder, tmp_path):
    images = folder(entries(("a", 1), ("a", 2), ("b", 3)), [picture(0), picture(1, (8, 16)), picture(2)])
    Image.fromarray(picture(2)).convert("L").save(tmp_path / "images/2.png")
    size, mode = images.differences((8, 8))
    assert "1 of the candidate's 3 images have another size than the base's 8 by 8 pixels, such as 8 by 16" in size
    assert "1 of the candidate's 3 images are not 8-bit RGB and were converted (1 L)" in mode


def test_images_like_the_bases_give_no_warning(folder):
    assert folder(entries(("a", 1)), [picture(0)]).differences((8, 8)) == []


# The list.


def test_a_byte_order_mark_is_no_part_of_the_list(folder):
    assert len(folder(entries(("a", 1), ("b", 2)), [picture(0), picture(1)], before="\ufeff")) == 2


@pytest.mark.parametrize(("name", "words"), [("0.tiff", "no kind that an audit reads"), (".0.png", "hidden file")])
def test_a_file_that_the_folders_digest_leaves_out_is_refused(tmp_path, name, words):
    Image.fromarray(picture(0)).save(tmp_path / name)
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": name, "prompt": "a", "seed": 1}))
    with pytest.raises(LoadError, match=words):
        ImageFolder(parse_reference(f"images:{tmp_path}"))


# Pixels.


def _png(width, height, depth, colour, rows):
    """A PNG file made of its chunks; Pillow cannot write each kind."""

    def chunk(kind, data):
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([depth, colour, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("colour", [0, 2])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, colour):
    values = np.array([[0, 257, 32768, 65535]], ">u2")
    channels = values if colour == 0 else np.repeat(values, 3, axis=1)
    (tmp_path / "deep.png").write_bytes(_png(4, 1, 16, colour, b"\0" + channels.tobytes()))
    pixels = read_image(tmp_path / "deep.png")
    assert pixels.shape == (1, 4, 3)
    assert pixels[0, :, 0].tolist() == pixels[0, :, 2].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_of_unknown_range_are_refused(tmp_path, mode):
    Image.fromarray(np.linspace(0, 1, 64).reshape(8, 8)).convert(mode).save(tmp_path / "numbers.tiff")
    (tmp_path / "numbers.tiff").rename(tmp_path / "numbers.png")
    with pytest.raises(LoadError, match=f"pixels of the kind '{mode}'"):
        read_image(tmp_path / "numbers.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_refused_and_opaque_ones_are_not(tmp_path, mode):
    opaque = Image.fromarray(picture(0)).convert(mode[:-1])
    opaque.putalpha(255)
    opaque.save(tmp_path / "opaque.png")
    expected = np.asarray(Image.fromarray(picture(0)).convert(mode[:-1]).convert("RGB"))
    assert np.array_equal(read_image(tmp_path / "opaque.png"), expected)
    opaque.putalpha(254)
    opaque.save(tmp_path / "thin.png")
    with pytest.raises(LoadError, match="transparent pixels"):
        read_image(tmp_path / "thin.png")


def test_a_transparent_colour_of_a_palette_is_refused(tmp_path):
    image = Image.fromarray(picture(0)).quantize(16)
    image.save(tmp_path / "p.png", transparency=image.getpixel((0, 0)))
    with pytest.raises(LoadError, match="transparent pixels"):
        read_image(tmp_path / "p.png")


def test_an_image_is_turned_as_its_orientation_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    Image.fromarray(picture(0, (4, 8))).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png"), np.rot90(picture(0, (4, 8)), -1))


@pytest.mark.parametrize("side", [int(MOST_PIXELS**0.5) + 1, 40_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    """Pillow only warns of the first one, and would fill 270 MB with it. The second is over twice Pillow's limit."""
    (tmp_path / "bomb.png").write_bytes(_png(side, side, 8, 2, b""))
    with pytest.raises(LoadError, match=r"bomb\.png is too large an image"):
        read_image(tmp_path / "bomb.png")


def test_a_file_of_several_pictures_is_refused(tmp_path):
    first, second = (Image.fromarray(picture(number)) for number in range(2))
    first.save(tmp_path / "moving.webp", save_all=True, append_images=[second])
    with pytest.raises(LoadError, match="several pictures"):
        read_image(tmp_path / "moving.webp")
