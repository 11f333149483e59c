"""``python -m benchmark``."""

from benchmark.commands import main

if __name__ == "__main__":
    main()
