"""`python -m picoformer`: the `picoformer` command."""

import sys

from .commands.main import main

sys.exit(main())
