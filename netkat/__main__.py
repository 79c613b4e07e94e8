"""``python -m netkat``, the same as the ``netkat`` command."""

from netkat.cli.app import main

main()
