"""`python -m benchmarks.methods FOLDER` writes the tables of docs/explanation/methods.md from the folder of the campaign."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmarks.methods.tables import tables

PAGE = Path("docs/explanation/methods.md")
BLOCK = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write the tables between the marks of the page, or print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder of --campaign-dir")
    parser.add_argument("--print", action="store_true", help="print the tables and write nothing")
    arguments = parser.parse_args()
    text = tables(arguments.folder)
    if arguments.print:
        print(text)
        return
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda match: f"{match[1]}{text}{match[2]}", page), encoding="utf-8")
    print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
