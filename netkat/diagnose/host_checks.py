"""All checks of ``netkat doctor``, in the order in which connect would fail."""

from __future__ import annotations

from netkat.diagnose import interface_checks, process_checks
from netkat.diagnose.check_result import CheckResult
from netkat.diagnose.why import able
from netkat.errors import NetkatError


def examine(asked: str | None = None) -> list[CheckResult]:
    """Run all checks; ``asked`` is the name of an interface. Leaves nothing behind.

    Errors: InterfaceNotFound.
    """
    findings = [process_checks.capabilities(), process_checks.kernel()]
    found = interface_checks.chosen(asked)
    if found is None:
        remedy = "ip link set IFACE up"
        findings.append(CheckResult("interface", False, "none is up but lo", remedy, required=True))
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
        findings.append(CheckResult("local_addresses", False, error.message, error.hint))
    # The library after all of connect's: with it come the Go runtime's threads.
    findings.append(process_checks.library())
    return [*findings, able.traces(), able.arrivals()]
