"""``python -m mmgrad_explain`` is the command ``mmgrad-explain``."""

import sys

from mmgrad_explain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
