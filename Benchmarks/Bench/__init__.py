"""The measuring of dev/bench: see its --help."""
