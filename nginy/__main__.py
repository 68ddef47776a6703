"""`python -m nginy`."""

from nginy.cli import main

if __name__ == "__main__":
    main()
