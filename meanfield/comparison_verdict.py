"""What a comparison says of learning over a length, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meanfield.comparison import Comparison, Initialisation
    from meanfield.estimate import Estimate

# A gradient is lost beside another one if their ratio is below the rounding of single precision, 2⁻²⁴; S is its square.
_LOST = -48.0 * math.log10(2.0)
_EXPLODED = 3.0


def verdict(comparison: Comparison) -> str:
    """Whether the default reaches over the task, whether the recipe does, and who of the others does.

    Args:
        comparison: with the recipe and at least one baseline.
    """
    recipe, *others = comparison.initialisations
    if not others:
        return f"{_capital(_behaviour(recipe, comparison.length))}."
    chosen = next((each for each in others if each.name == comparison.default), others[0])
    parts = [f"{_capital(_behaviour(each, comparison.length))}{_kept(each)}." for each in (chosen, recipe)]
    rest = [each for each in others if each is not chosen]
    if rest:
        parts.append(_of_the_others(rest))
    return " ".join(parts)


def exploding(each: Initialisation) -> float | None:
    """Decimal logarithm of the largest G(τ), if it is above 1000.

    S may rise by as much where nothing explodes: at a signal before padding to which gates are closed.
    """
    if each.analysis is None:
        return None
    growth = float(each.analysis.gradients.profile.log_values.max()) / math.log(10.0)
    return growth if growth > _EXPLODED else None


def _behaviour(each: Initialisation, length: int) -> str:
    if each.failure is not None:
        return f"{each.title} cannot be predicted ({each.failure})"
    growth = exploding(each)
    if growth is not None:
        return f"{each.title} explodes: squared gradients grow {power(growth)}-fold within {length} steps"
    if each.reach is None:
        return f"{each.title} reaches back over {f'all {length} steps' if length > 1 else 'the one step'}"
    return f"{each.title} forgets after {steps_of(each.reach)} of {length} steps"


def _kept(each: Initialisation) -> str:
    """What is left of the first input, and what that means where nothing is."""
    if each.failure is not None or exploding(each) is not None:
        return ""
    left = float(each.fading.log_values[-1]) / math.log(10.0)
    kept = f": the mark of the first input is {power(left)} times that of the last one"
    if left >= _LOST:
        return kept
    return f"{kept}, lost in the rounding of single precision, so that nothing can be learnt from it"


def steps_of(reach: Estimate) -> str:
    """A reach in whole steps, the first one at which S is below, or in as many digits as the error leaves.

    >>> from meanfield.estimate import Estimate
    >>> steps_of(Estimate(6.3, 0.1)), steps_of(Estimate(182.6, 11.0))
    ('7', 'about 180')
    """
    if reach.error < 1.0:
        return f"{math.ceil(reach.value)}"
    place = 10 ** math.floor(math.log10(reach.error))
    return f"about {round(reach.value / place) * place}"


def _of_the_others(rest: list[Initialisation]) -> str:
    """Who else reaches over all of the task, or as far as possible; who explodes."""
    sound = [each for each in rest if each.failure is None and exploding(each) is None]
    words = []
    through = [each.title for each in sound if each.reach is None]
    if through:
        words.append(f"{_listed(through)} {'reaches' if len(through) == 1 else 'reach'} just as far")
    elif sound:
        farthest = max(sound, key=lambda each: each.reach.value if each.reach is not None else math.inf)
        if farthest.reach is not None:
            words.append(f"of the others {farthest.title} lasts longest, {steps_of(farthest.reach)} steps")
    explosive = [each.title for each in rest if exploding(each) is not None]
    if explosive:
        words.append(f"{_listed(explosive)} {'explodes' if len(explosive) == 1 else 'explode'}")
    failed = [each.title for each in rest if each.failure is not None]
    if failed:
        words.append(f"{_listed(failed)} cannot be predicted")
    return f"{_capital('; '.join(words))}."


def power(exponent: float) -> str:
    """10 to an exponent in few digits, beyond the range of numbers too.

    >>> power(-400.2), power(-0.3), power(-math.inf)
    ('6e-401', '0.5', '0')
    """
    if exponent == -math.inf:
        return "0"
    if -3.0 <= exponent < 3.0:
        return f"{10.0**exponent:.1g}" if exponent < 1.0 else f"{10.0**exponent:.0f}"
    whole = math.floor(exponent)
    digit = round(10.0 ** (exponent - whole))
    return f"{digit}e{whole:+03d}" if digit < 10 else f"1e{whole + 1:+03d}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
