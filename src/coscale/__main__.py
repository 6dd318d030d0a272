"""python -m coscale"""

from coscale.cli import main

if __name__ == "__main__":
    main()
