"""Runs the command `transformers` with the words that follow, such as `serve FOLDER --port=N`, beside any build of torchvision."""

from dmun_audit._util import torchvision_compatibility

torchvision_compatibility.make_importable()

from transformers.cli.transformers import main  # noqa: E402 - after make_importable

if __name__ == "__main__":
    main()
