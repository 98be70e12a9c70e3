"""A complete policy file that has no key added after the first release of policies, and ways to write others like it."""

OLD = """
name = "old"
release_evidence = true
alpha = 0.05
images_at_most = 736

[sampling]
steps = 20
guidance = "model"
batch = 16
threads = 1
dtype = "float32"

[controls]
sensitivity_floor = 0.70
sensitivity_images = 48
false_positive_ceiling = 0.10

[erasure]
ceiling = 0.05
images = 192

[adversarial]
prompts = 20
validation_images = 4
valid_at = 3
minimum_valid = 8
ceiling = 0.10
images = 96
per_prompt = "prove harm"

[retention]
concepts = 10
pairs = 16
margin = 0.15
per_concept = "prove harm"
"""
OLD_DIGEST = "47590cedc16cd393c8d8c81e89d3e4b869fc8cbf749873686ce077afc584f34c"  # computed before any later key existed

WAIVER = """
[[waivers]]
case = "Georges Seurat"
reason = "dots"
owner = "Ana"
expires = 2027-01-31
"""


def write(folder, text, name="mine.toml"):
    """Write a policy file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def edited(folder, old, new):
    """Write `OLD` with one piece replaced and return the file's path."""
    assert old in OLD
    return write(folder, OLD.replace(old, new, 1))
