"""What several rooms of tests share stands beside this file: importable by name from all of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
