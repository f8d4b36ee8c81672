"""Average the predictions of finished runs: `python scripts/ensemble.py outputs/NAME/vanilla outputs/NAME/lds`."""

from dir.compare.ensemble_cli import main

if __name__ == "__main__":
    main()
