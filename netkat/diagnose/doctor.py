"""All checks, in the order in which connect would come to grief."""

from __future__ import annotations

from netkat.diagnose import interface, process
from netkat.diagnose.finding import Finding
from netkat.diagnose.why import able
from netkat.errors import NetkatError


def examine(asked: str | None = None) -> list[Finding]:
    """Look at everything; ``asked`` is an interface's name. Leaves nothing behind.

    Errors: InterfaceNotFound.
    """
    findings = [process.capabilities(), process.kernel()]
    found = interface.chosen(asked)
    if found is None:
        remedy = "ip link set IFACE up"
        findings.append(Finding("interface", False, "none is up but lo", remedy, needed=True))
    else:
        usable = interface.usable(found)
        findings.append(usable)
        if usable.ok:
            findings += interface.left_behind(found)
            findings += [interface.guard(found), interface.device(found), interface.egress(found)]
    try:
        findings += interface.service_addresses()
    except NetkatError as error:
        findings.append(Finding("local addresses", False, error.message, error.hint))
    # The library after all of connect's: with it come the Go runtime's threads.
    findings += [process.library(), process.compiler_of_the_guard()]
    return [*findings, able.traces(), able.arrivals()]
