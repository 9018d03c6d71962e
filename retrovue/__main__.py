"""python -m retrovue, and the console script."""

from retrovue.cli.entry import main

if __name__ == "__main__":
    main()
