"""Files, locks, devices and the terminal."""
