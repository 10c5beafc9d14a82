"""python -m benchmarks: see transfers.py."""

from benchmarks.transfers import main

if __name__ == "__main__":
    main()
