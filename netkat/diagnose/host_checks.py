"""All checks, in the order in which connect would come to grief."""

from __future__ import annotations

from netkat.diagnose import interface_checks, process_checks
from netkat.diagnose.check_result import Finding
from netkat.diagnose.why import able
from netkat.errors import NetkatError


def examine(asked: str | None = None) -> list[Finding]:
    """Look at everything; ``asked`` is an interface's name. Leaves nothing behind.

    Errors: InterfaceNotFound.
    """
    findings = [process_checks.capabilities(), process_checks.kernel()]
    found = interface_checks.chosen(asked)
    if found is None:
        remedy = "ip link set IFACE up"
        findings.append(Finding("interface", False, "none is up but lo", remedy, needed=True))
    else:
        usable = interface_checks.usable(found)
        findings.append(usable)
        if usable.ok:
            findings += interface_checks.left_behind(found)
            findings += [
                interface_checks.guard(found),
                interface_checks.device(found),
                interface_checks.egress(found),
            ]
    try:
        findings += interface_checks.service_addresses()
    except NetkatError as error:
        findings.append(Finding("local addresses", False, error.message, error.hint))
    # The library after all of connect's: with it come the Go runtime's threads.
    findings += [process_checks.library(), process_checks.compiler_of_the_guard()]
    return [*findings, able.traces(), able.arrivals()]
