"""`python -m sensor` is `swarmtap`."""

from sensor.cli import main

if __name__ == "__main__":
    main()
