"""All figures by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from meanfield.errors import InvalidInput
from meanfield.validation.figures import (
    cell_state_law,
    overlap_maps,
    phases,
    recipe_reach,
    sampler_costs,
    singular_moments,
    slow_modes,
    step_spectra,
    tied_untied,
    timescales,
)
from meanfield.validation.figures.file_figures import FILE_FIGURES
from meanfield.validation.figures.named_figure import NamedFigure

FIGURES: dict[str, NamedFigure] = {
    each.name: each
    for each in (
        tied_untied.FIGURE,
        recipe_reach.FIGURE,
        overlap_maps.FIGURE,
        timescales.FIGURE,
        step_spectra.SINGULAR_VALUES,
        singular_moments.FIGURE,
        step_spectra.EIGENVALUES,
        slow_modes.FIGURE,
        phases.FIGURE,
        cell_state_law.FIGURE,
        sampler_costs.FIGURE,
    )
}


def check_names(names: Iterable[str]) -> list[str]:
    """Names of figures, each once, in the order given; all of them if none is given.

    Raises:
        InvalidInput: if there is no such figure; the message suggests a name.

    >>> check_names(["phase-diagrm"])
    Traceback (most recent call last):
        ...
    meanfield.errors.InvalidInput: figures: there is no 'phase-diagrm'; did you mean phase-diagram? 'meanfield figures
    --list' lists all
    """
    known = [*FIGURES, *FILE_FIGURES]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
            meant = f"did you mean {' or '.join(near)}? " if near else ""
            raise InvalidInput(f"figures: there is no {name!r}; {meant}'meanfield figures --list' lists all")
    return list(dict.fromkeys(names)) or known
