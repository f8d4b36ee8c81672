"""List training labels that look wrong: `python scripts/audit.py outputs/NAME/METHOD/seed_0 [--folds 5]`."""

from dir.recipe.audit_cli import main

if __name__ == "__main__":
    main()
