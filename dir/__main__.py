"""``python -m dir COMMAND``: see :mod:`dir.commands.names`."""

from dir.commands.names import main

if __name__ == "__main__":
    main()
