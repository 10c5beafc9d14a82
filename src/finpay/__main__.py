"""python -m finpay"""

from finpay.cli import main

if __name__ == "__main__":
    main()
