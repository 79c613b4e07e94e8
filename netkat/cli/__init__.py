"""The command line: parse, one call into netkat.apps, an exit code."""
