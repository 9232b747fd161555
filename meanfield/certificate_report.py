"""The table of a certificate: what the command line prints with ``--certify``."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meanfield.certificates import Certificate, CertifiedNumber

_SHOWN = 30  # characters of a reference


def certificate_table(certificate: Certificate) -> RenderableType:
    """References with their digits, and whether every number is within its bound."""
    table = Table(title=f"certificate: the same in {certificate.digits} digits", title_style="")
    table.add_column("quantity")
    for heading in ("reference", "distance", "bound", "holds"):
        table.add_column(heading, justify="right")
    for each in certificate.numbers:
        table.add_row(
            _named(each),
            each.reference if len(each.reference) <= _SHOWN else _shortened(each.reference),
            f"{each.distance:.1e}",
            f"{each.bound:.1e}",
            "yes" if each.holds else "NO",
        )
    failed = sum(not each.holds for each in certificate.numbers)
    verdict = f"{failed} of {len(certificate.numbers)} bounds do not hold." if failed else "Every bound holds."
    parts: list[RenderableType] = [table, Text(verdict)]
    if certificate.unvaried:
        parts.append(Text("The state does not vary as far as the digits show; overlaps are left out.", style="dim"))
    return Group(*parts)


def _named(number: CertifiedNumber) -> str:
    return number.name if number.point is None else f"{number.name}, point {number.point + 1}"


def _shortened(reference: str) -> str:
    """A decimal number without the digits that a table has no room for, which are in the JSON object."""
    digits, mark, exponent = reference.partition("e")
    return f"{digits[: _SHOWN - 1 - len(mark + exponent)]}…{mark}{exponent}"
