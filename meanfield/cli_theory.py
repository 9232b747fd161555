"""Commands for theorists: sample, fixed-points, critical, spectra and phase-diagram."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from meanfield.cli_options import Debug, DeviceOption, Json, Method, Regime, Seed
from meanfield.errors import InvalidInput
from meanfield.terminal import (
    check_positive,
    errors_reported,
    inputs_for,
    print_table,
    read_network,
    show_notes,
    steps_shown,
    white_inputs,
)

theory = typer.Typer()


@theory.command(
    epilog="Examples:\n\n"
    "[bold]meanfield sample network.json[/bold]\n\n"
    "[bold]meanfield sample network.json --chains 4000000 --overlap 0.5 --json[/bold]\n\n"
    "[bold]meanfield sample network.json --histogram law[/bold] (writes law_c.csv and law_h.csv for an LSTM)"
)
def sample(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    chains: Annotated[int, typer.Option(help="Independent chains: more chains, smaller errors.")] = 1 << 18,
    steps: Annotated[int, typer.Option(help="Steps that every chain is averaged over.")] = 64,
    burn_in: Annotated[
        int | None, typer.Option(help="Steps before that; by default as many as the slowest gate needs.")
    ] = None,
    method: Annotated[
        Method,
        typer.Option(help="Independent chains, chains driven by quasi-random points, or moments by an operator."),
    ] = Method.chains,
    length: Annotated[int, typer.Option(help="Steps over which gradients are followed.")] = 64,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    overlap: Annotated[float, typer.Option(help="Overlap of two input sequences, -1 to 1.")] = 0.0,
    device: Annotated[
        DeviceOption, typer.Option(help="Where chains run; auto takes a GPU if there is one.")
    ] = DeviceOption.auto,
    threads: Annotated[int | None, typer.Option(help="Threads on the CPU; all cores by default.")] = None,
    histogram: Annotated[
        Path | None, typer.Option(help="Write the density of every state variable s to HISTOGRAM_s.csv.")
    ] = None,
    bins: Annotated[int, typer.Option(help="Bins of the histograms.")] = 100,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Sample the untied theory by brute force: stationary law, overlap, growth of gradients."""
    with errors_reported(debug):
        from meanfield import samples
        from meanfield.files import check_writable

        show_notes()
        network, inputs = white_inputs(file, power, overlap)
        tables = {}
        if histogram is not None:
            check_positive("bins", bins)
            tables = {name: Path(f"{histogram}_{name}.csv") for name in network.definition.states}
            for path in tables.values():
                check_writable(path)
        with steps_shown("Sampling") as progress:
            found = samples.sample(
                network,
                inputs,
                length=length,
                chains=chains,
                steps=steps,
                burn_in=burn_in,
                method=method.value,
                seed=seed,
                device=device.value,
                threads=threads,
                progress=progress,
            )
        for name, path in tables.items():
            found.law.histogram(name, bins=bins).save(path)
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
        else:
            from meanfield.report import samples_table

            print_table(samples_table(found))
            for path in tables.values():
                typer.echo(f"Written to {path}.")


@theory.command(
    name="fixed-points",
    epilog="Examples:\n\n"
    "[bold]meanfield fixed-points network.json --overlap 0.5[/bold]\n\n"
    "[bold]meanfield fixed-points network.json --power 0 --json[/bold]",
)
def fixed_points(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    overlap: Annotated[float, typer.Option(help="Overlap of two input sequences, -1 to 1.")] = 0.0,
    certified: Annotated[
        bool, typer.Option("--certify", help="Do it all again in 40 digits and compare: seconds to a minute.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Untied theory without sampling: moments, all fixed points of the overlap, time scales, with bounds."""
    with errors_reported(debug):
        from meanfield import closed_maps

        network, found_inputs = white_inputs(file, power, overlap)
        found = closed_maps.fixed_points(network, found_inputs)
        certificate = None
        if certified:
            from meanfield.certificates import certify

            with steps_shown("Certifying") as progress:
                certificate = certify(found, progress=progress)
        if as_json:
            content = found.as_json()
            if certificate is not None:
                content["certificate"] = certificate.as_json()
            typer.echo(json.dumps(content, indent=2, allow_nan=False))
        else:
            from meanfield.report import fixed_points_table

            print_table(fixed_points_table(found))
            if certificate is not None:
                from meanfield.certificate_report import certificate_table

                print_table(certificate_table(certificate))
    if certificate is not None and not certificate.holds:
        raise typer.Exit(1)


@theory.command(
    epilog="Examples:\n\n"
    "[bold]meanfield critical network.json --parameter h.recurrent_gain --within 0 5[/bold]\n\n"
    "[bold]meanfield critical network.json --parameter h.recurrent_gain --within 0 5 "
    "--against f.bias_mean --values -2:4:13 -o line.csv[/bold]"
)
def critical(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    parameter: Annotated[
        str, typer.Option(help="A gate and a law, as h.recurrent_gain; * for all gates, as *.input_gain.")
    ],
    within: Annotated[tuple[float, float], typer.Option(help="Lowest and highest value to consider.")],
    against: Annotated[str | None, typer.Option(help="A second parameter, for a surface.")] = None,
    values: Annotated[
        str | None, typer.Option(help="Its values: FIRST:LAST:COUNT, or numbers with commas between them.")
    ] = None,
    target: Annotated[float, typer.Option(help="What χ is to be.")] = 1.0,
    points: Annotated[int, typer.Option(help="Values of the parameter that are looked at first.")] = 25,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a surface as a CSV file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw a surface; needs Matplotlib.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Untied theory: where the growth χ of a perturbation is 1, in one parameter or two."""
    with errors_reported(debug):
        from meanfield import critical_points, critical_surfaces
        from meanfield.critical_report import critical_point_table, critical_surface_table, listed_values
        from meanfield.files import check_writable

        network, inputs = white_inputs(file, power, 0.0)
        if (against is None) != (values is None):
            raise InvalidInput("against and values: must be given together, or neither")
        if against is None and (output is not None or plot is not None):
            raise InvalidInput("output and plot: are for surfaces; give against and values too")
        for path in (output, plot):
            if path is not None:
                check_writable(path)
        with steps_shown("Following") as progress:
            if against is None or values is None:
                point = critical_points.critical_point(
                    network, parameter, inputs, within=within, target=target, points=points
                )
                content, table = point.as_json(), critical_point_table(point)
            else:
                surface = critical_surfaces.critical_surface(
                    network,
                    parameter,
                    against,
                    listed_values(values),
                    inputs,
                    within=within,
                    target=target,
                    points=points,
                    progress=progress,
                )
                content, table = surface.as_json(), critical_surface_table(surface)
                if output is not None:
                    surface.save(output)
                if plot is not None:
                    surface.plot(plot)
        if as_json:
            typer.echo(json.dumps(content, indent=2, allow_nan=False))
        else:
            print_table(table)
            for path in (output, plot):
                if path is not None:
                    typer.echo(f"Written to {path}.")


@theory.command(
    epilog="Examples:\n\n"
    "[bold]meanfield spectra network.json --hidden 256 --inputs 28[/bold]\n\n"
    "[bold]meanfield spectra lstm.json --density density.csv --plot spectra.png[/bold] (beside two simulated networks)"
)
def spectra(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    hidden: Annotated[
        int | None, typer.Option(help="Width of the network; a recipe's own by default, else 256.")
    ] = None,
    inputs: Annotated[
        int | None, typer.Option(help="Input size; 0 for the limit of many. A recipe's own by default, else 0.")
    ] = None,
    power: Annotated[float | None, typer.Option(help="Mean square of every input component; by default 1.")] = None,
    length: Annotated[int, typer.Option(help="Steps that are made before the one that is looked at.")] = 64,
    regime: Annotated[Regime, typer.Option(help="Weights that stay, or fresh ones at every step.")] = Regime.tied,
    density: Annotated[
        Path | None, typer.Option(help="Write the density of the singular values to a CSV file, 400 points.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw both spectra over those of simulated networks; needs Matplotlib.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Singular values and eigenvalues of the Jacobian of one step: edges, quantiles, slow modes, pictures."""
    with errors_reported(debug):
        import numpy as np

        from meanfield.eigenvalue_plane import eigenvalues
        from meanfield.files import check_writable, write_whole
        from meanfield.singular_value_density import singular_values
        from meanfield.spectra_report import SpectraReport

        network, task = read_network(file)
        given = inputs_for(task, length=None, inputs=inputs, power=power, overlap=0.0)
        width = hidden if hidden is not None else (task.content.task.hidden if task else 256)
        for path in (density, plot):
            if path is not None:
                check_writable(path)
        law = singular_values(network, given, hidden=width, length=length, regime=regime.value, seed=seed)
        plane = eigenvalues(network, given, hidden=width, length=length, regime=regime.value, seed=seed)
        report = SpectraReport(network, regime.value, law, plane)
        if density is not None:
            curve = law.density(np.linspace(0.001, 1.02, 400) * law.outer_edge.value)
            rows = zip(curve.points.tolist(), curve.values.tolist(), curve.errors.tolist(), strict=True)
            write_whole(density, "singular_value,density,error\n" + "".join(f"{a!r},{b!r},{c!r}\n" for a, b, c in rows))
        if plot is not None:
            from meanfield.validation.spectra_picture import simulated_spectra

            drawn = simulated_spectra(network, given, hidden=width, length=length, regime=regime.value, seed=seed)
            drawn.draw(plot)
        if as_json:
            typer.echo(json.dumps(report.as_json(), indent=2, allow_nan=False))
        else:
            print_table(report.table())
            for path in (density, plot):
                if path is not None:
                    typer.echo(f"Written to {path}.")


@theory.command(
    name="phase-diagram",
    epilog="Example:\n\n"
    "[bold]meanfield phase-diagram network.json --horizontal h.recurrent_gain=0:5:21 "
    "--vertical r.recurrent_gain=0:5:21 -o diagram.csv --plot diagram.png[/bold]",
)
def phase_diagram(
    file: Annotated[Path, typer.Argument(help="A network file or a recipe.")],
    horizontal: Annotated[str, typer.Option(help="NAME=FIRST:LAST:COUNT, as h.recurrent_gain=0:5:21.")],
    vertical: Annotated[str, typer.Option(help="The same for the other axis.")],
    power: Annotated[float, typer.Option(help="Mean square of an input that is the same at every step.")] = 0.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all fixed points as a CSV file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw phases and lines; needs Matplotlib.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tied theory without inputs: which fixed points there are and which are stable, in the plane of two parameters."""
    with errors_reported(debug):
        from meanfield import phase_diagrams
        from meanfield.files import check_writable
        from meanfield.inputs import Inputs
        from meanfield.phase_report import parsed_axis, phase_diagram_table

        network, _ = read_network(file)
        for path in (output, plot):
            if path is not None:
                check_writable(path)
        with steps_shown("Grid points") as progress:
            found = phase_diagrams.phase_diagram(
                network,
                horizontal=parsed_axis(horizontal, "horizontal"),
                vertical=parsed_axis(vertical, "vertical"),
                inputs=Inputs(power=power),
                progress=progress,
            )
        if output is not None:
            found.save(output)
        if plot is not None:
            found.plot(plot)
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=2, allow_nan=False))
        else:
            print_table(phase_diagram_table(found))
            for path in (output, plot):
                if path is not None:
                    typer.echo(f"Written to {path}.")
