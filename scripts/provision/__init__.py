"""What ``scripts/bootstrap.py`` is made of. Standard library only: nothing is installed yet."""
