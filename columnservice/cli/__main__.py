"""``python -m columnservice.cli`` is the same as ``columnservice``."""

from columnservice.cli import main

if __name__ == "__main__":
    main()
