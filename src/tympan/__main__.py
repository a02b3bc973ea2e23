"""`python -m tympan` is the program `tympan`."""

from tympan.apps.cli.main import run

if __name__ == "__main__":
    run()
