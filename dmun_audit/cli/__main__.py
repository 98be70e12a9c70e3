"""`python -m dmun_audit.cli` is `dmun-audit`, for when the script is not on the path."""

import sys

from dmun_audit.cli import main

sys.exit(main())
