"""`python -m dmun_audit` is `dmun-audit`."""

import sys

from dmun_audit.cli import main

sys.exit(main())
