"""The command line: parse, one call into netkat.commands, an exit code."""
