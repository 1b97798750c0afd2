"""`python -m scalrec`."""

from scalrec.cli import main

main()
