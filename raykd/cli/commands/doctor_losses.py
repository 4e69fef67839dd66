"""Prove that the objective is what it says, on a device and in a precision."""

import argparse

import torch
from rich.table import Table

from raykd.cli.progress import console
from raykd.cli.tables import plain_table
from raykd.doctor.subject import Finding, Setting, Subject
from raykd.doctor.suite import findings
from raykd.errors import ConfigError


def run(options: argparse.Namespace) -> int:
    """Print what is found; return 1 when a check fails."""
    if options.device == "cuda" and not torch.cuda.is_available():
        message = "--device: torch finds no CUDA device here; leave it out to check on the CPU"
        raise ConfigError(message)
    dtype = getattr(torch, options.dtype)
    setting = Setting(device=torch.device(options.device), dtype=dtype)
    checks = list(findings(Subject.real(), setting))
    console.print(losses_table(checks))
    failed = [finding.name for finding in checks if not finding.is_ok]
    verdict = (
        f"{len(failed)} of {len(checks)} checks fail" if failed else f"{len(checks)} checks pass"
    )
    console.print(f"\n{verdict} on {options.device} in {options.dtype}", markup=False)
    return 1 if failed else 0


def losses_table(findings: list[Finding]) -> Table:
    """Return the checks of the losses as a table."""
    table = plain_table("check", "what it proves", "deviation", "allowed", "")
    for finding in findings:
        table.add_row(
            finding.name,
            finding.claim,
            f"{finding.deviation:.2g}",
            f"{finding.tolerance:.2g}",
            "pass" if finding.is_ok else "[red]FAIL[/]",
        )
    return table
