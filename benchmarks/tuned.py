"""Imported first by every benchmark, for torch reads its environment as it loads: sets the process up as `atom` does.

The plain loops run in the same process, and gain from it too.
"""

from atom_distill.base.process import tune_process

tune_process()
