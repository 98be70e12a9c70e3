"""`python -m dmun_audit.cli`: the command where its script is not on the path."""

import sys

from dmun_audit.cli import main

sys.exit(main())
