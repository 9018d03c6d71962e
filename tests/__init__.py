"""The tests of RetroVue."""

import os
import sys

# Images of Python often set it: pytest would rewrite every test in each run, and every process compile the program.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
