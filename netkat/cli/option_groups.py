"""Groups of options: one parameter of a command is a NamedTuple with a field per option."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def expand_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Return the command with each NamedTuple parameter expanded into its fields.

    typer reads the options of a command from its signature. ::

        @expand_groups
        def connect(*, host: options.Host, relaying: RelayOptionGroup) -> int: ...
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if hasattr(kind, "_field_defaults")}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            parameters.append(_named(parameter.name, parameter.default, hints))
        else:
            own = get_type_hints(group, include_extras=True)
            parameters += [
                _named(name, default, own) for name, default in group._field_defaults.items()
            ]

    def run(**given: Any) -> int:
        for name, group in groups.items():
            given[name] = group(**{field: given.pop(field) for field in group._fields})
        return command(**given)

    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, __name__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _named(name: str, default: Any, hints: dict[str, Any]) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=hints[name])
