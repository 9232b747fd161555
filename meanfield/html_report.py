"""A recipe as one HTML file that holds all it shows: laws, predictions beside the default, profiles, pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from meanfield.recipe_file import EstimateEntry, GateLaws, Predictions, ProfileEntry, RecurrentLaw, WeightLaw
from meanfield.recipes import Recipe

_MEDIA = {"png": "image/png", "svg": "image/svg+xml"}

_STYLE = """
:root { color-scheme: light; --ink: #1d2329; --soft: #5b6670; --line: #d9dee3; --fill: #f5f7f9; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
       max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; background: #ffffff; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .28rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } thead th { background: var(--fill); font-weight: 600; }
td.words, th.words { text-align: left; color: var(--soft); }
figure { margin: 1rem 0 1.6rem; } figure img { max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .92rem; }
.wide { overflow-x: auto; }
@media print { body { margin: 0; max-width: none; } figure, table { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        name: of the picture: an identifier in the page.
        caption: what one sees.
        kind: ``"svg"`` or ``"png"``.
        content: of its file.
    """

    name: str
    caption: str
    kind: str
    content: bytes

    @property
    def html(self) -> str:
        """A figure that holds its picture."""
        encoded = base64.b64encode(self.content).decode("ascii")
        caption, name = escape(self.caption), escape(self.name, quote=True)
        return (
            f'<figure id="{name}"><img alt="{escape(self.caption, quote=True)}" '
            f'src="data:{_MEDIA[self.kind]};base64,{encoded}"><figcaption>{caption}</figcaption></figure>'
        )


def html_report(recipe: Recipe, pictures: Sequence[Picture] = (), *, verdict: str = "") -> str:
    """A recipe as the text of one HTML file, which loads nothing from elsewhere and runs no script.

    Args:
        recipe: the recipe.
        pictures: in their order.
        verdict: a sentence or two on top.

    Returns:
        The page: laws of the first layer and of further ones, predictions beside the framework's default, gradient
        profile and input sensitivity, pictures, and how it was found.

    >>> import meanfield as mf
    >>> page = html_report(mf.recipe("gru", length=20, hidden=64, inputs=8, units=512))
    >>> page.startswith("<!DOCTYPE html>"), page.count("<table"), "<script" in page
    (True, 4, False)
    """
    content = recipe.content
    task, method = content.task, content.method
    title = f"{content.cell} for {task.length} steps"
    reads = {"white": "white inputs", "padded": "padded inputs", "data": "measured inputs"}[task.inputs.kind]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{task.hidden} units, {task.input_size} inputs; {reads} of mean square '
        f"{_number(task.inputs.power)}; objective {escape(method.objective)}, {escape(method.regime)} weights.</p>",
    ]
    parts += [f"<p>{escape(text)}</p>" for text in (verdict, *content.notes) if text]
    parts += ["<h2>Laws of weights and biases</h2>", _laws("first layer", "laws", content.gates)]
    parts += [
        _laws(f"layer {each.layer}, {each.direction}", f"laws-{number}", each.gates)
        for number, each in enumerate(content.layers, start=1)
    ]
    defaults = content.defaults
    beside = (f"{defaults.framework}'s default", defaults.predictions) if defaults is not None else None
    parts += ["<h2>What theory predicts</h2>", _numbers(content.predictions, beside)]
    parts += [picture.html for picture in pictures]
    parts += ["<h2>How far back</h2>", _profiles(content.predictions, beside)]
    parts += ["<h2>How it was found</h2>", _method(recipe)]
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>meanfield: {escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _table(name: str, caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False) -> str:
    """A table; with ``words`` its last column is text."""

    def cells(row: Sequence[str], tag: str) -> str:
        last = len(row) - 1
        shown = (
            f"<{tag}{' class=' + chr(34) + 'words' + chr(34) if words and index == last else ''}>{escape(cell)}</{tag}>"
            for index, cell in enumerate(row)
        )
        return f"<tr>{''.join(shown)}</tr>"

    lines = "\n".join(cells(row, "td") for row in rows)
    return (
        f'<div class="wide"><table id="{escape(name, quote=True)}"><caption>{escape(caption)}</caption>\n'
        f"<thead>{cells(heads, 'th')}</thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def _laws(caption: str, name: str, gates: dict[str, GateLaws]) -> str:
    heads = ["gate", "recurrent weights", "input weights, std", "bias, mean", "bias, std"]
    second = any(laws.recurrent_bias is not None for laws in gates.values())
    rows = []
    for gate, laws in gates.items():
        row = [
            gate,
            _recurrent(laws.recurrent),
            _number(laws.input.std if laws.input else None),
            _number(laws.bias.mean),
            _number(laws.bias.std),
        ]
        if second:
            other = laws.recurrent_bias
            row.append("none" if other is None else f"{_number(other.mean)} ± {_number(other.std)}")
        rows.append(row)
    return _table(name, caption, [*heads, *(["second bias"] if second else [])], rows)


def _recurrent(law: RecurrentLaw | None) -> str:
    if law is None:
        return "none"
    if isinstance(law, WeightLaw):
        return f"normal, std {_number(law.std)} (gain {_number(law.gain)})"
    return f"{law.law}, gain {_number(law.gain)}"


def _numbers(predictions: Predictions, beside: tuple[str, Predictions] | None) -> str:
    from meanfield.report import MEANING

    heads = ["quantity", "recipe", *([beside[0]] if beside else []), "meaning"]
    rows = []
    for name, entry in predictions.numbers.items():
        other = [_with_error(beside[1].numbers.get(name))] if beside else []
        rows.append([name.replace("_", " "), _with_error(entry), *other, MEANING.get(name, "")])
    return _table("predictions", "value ± one standard error, or a bound", heads, rows, words=True)


def _profiles(predictions: Predictions, beside: tuple[str, Predictions] | None) -> str:
    heads, columns = ["lag τ"], []
    shown = [("recipe", predictions), *([beside] if beside else [])]
    for kind, symbol in (("gradient_profile", "G(τ)"), ("input_sensitivity", "S(τ)")):
        for title, found in shown:
            heads.append(f"{symbol}, {title}")
            columns.append({row.lag: row for row in getattr(found, kind)})
    lags = sorted({lag for column in columns for lag in column})
    rows = [[str(lag), *(_logged(column.get(lag)) for column in columns)] for lag in lags]
    return _table("profiles", "mean squares of ∂h(T)/∂h(T-τ) and of ∂h(T)/∂x(T-τ), a unit of the layer", heads, rows)


def _method(recipe: Recipe) -> str:
    content, method = recipe.content, recipe.content.method
    rows = [
        ["objective", f"{_number(method.value)} (default: {_number(method.default_value)})"],
        ["seed", str(method.seed)],
        ["population", _population(method.population)],
        ["search", ", ".join(f"{count} {name}" for name, count in method.search.items())],
        *([["status", method.status]] if method.status else []),
        *([["active penalties", ", ".join(method.binding)]] if method.binding else []),
        ["version", content.version],
        ["request", content.request_hash],
    ]
    return _table("method", "the request and its search", ["", ""], rows, words=True)


def _population(population: Mapping[str, int]) -> str:
    if not any(population.values()):
        return "none: exact numbers"
    return ", ".join(f"{count} {name}" for name, count in population.items())


def _with_error(entry: EstimateEntry | None) -> str:
    if entry is None or entry.value is None:
        return "none"
    return f"{_number(entry.value)} ± {_number(entry.error, 2)}"


def _logged(row: ProfileEntry | None) -> str:
    """A value that may be too small or too large for a number."""
    if row is None:
        return ""
    if row.value and row.error is not None:
        return f"{_number(row.value)} ± {_number(row.error, 1)}"
    return f"10^{row.log10_value:.1f}" if row.log10_value is not None else "0"


def _number(value: float | None, digits: int = 4) -> str:
    return "none" if value is None else f"{value:.{digits}g}"
