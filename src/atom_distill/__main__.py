"""`python -m atom_distill` is the `atom` command."""

from atom_distill.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
