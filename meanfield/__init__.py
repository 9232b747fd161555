"""How to initialise a recurrent network, and how far it will remember.

Mean-field and random-matrix theory of gated recurrent networks with weights that are the same at every step, as they
are in every real network.

>>> import meanfield as mf
>>> gate = mf.Gate(recurrent_gain=1.0, input_gain=0.5, bias_mean=1.0)
>>> network = mf.Network("gru", {"f": gate, "r": gate, "h": gate})
>>> found = mf.gradients(network, mf.Inputs(power=1.0), length=20, units=1024)
>>> found.profile.at(20).value < found.profile.at(1).value
True
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if importlib.util.find_spec("meanfield.solvers") is None:
    raise ImportError(
        "this 'meanfield' folder is the source tree without its sibling packages: run 'pip install -e .' in the "
        "repository, or start Python in another directory to use an installed meanfield"
    )

if TYPE_CHECKING:
    from meanfield import torch
    from meanfield.analyses import Analysis, analyze
    from meanfield.autonomous_states import StaticState, static_states
    from meanfield.band_bounds import GradientBound, gradient_bound
    from meanfield.baselines import baseline
    from meanfield.cells import Cell, register
    from meanfield.certificates import Certificate, certify
    from meanfield.closed_batch import FixedPointTable, fixed_points_of_many
    from meanfield.closed_isometry import UntiedIsometry, untied_isometry
    from meanfield.closed_maps import FixedPoints, fixed_points
    from meanfield.comparison import Comparison, compare
    from meanfield.critical_gains import critical_gain
    from meanfield.critical_initialisations import CriticalInitialisation, critical_minimal, critical_vanilla
    from meanfield.critical_points import CriticalPoint, critical_point
    from meanfield.critical_surfaces import CriticalSurface, critical_surface
    from meanfield.defaults import framework_default
    from meanfield.eigenvalue_plane import Eigenvalues, eigenvalues
    from meanfield.errors import Infeasible, InvalidInput, MeanfieldError, NotConverged
    from meanfield.estimate import Estimate, Profile
    from meanfield.exact_predictions import UntiedPredictions, untied_predictions
    from meanfield.exact_recipes import UntiedRequest, untied_recipe, untied_recipes
    from meanfield.free_spectra import FreeSpectrum, free_singular_values
    from meanfield.gradient_profiles import Gradients, gradients
    from meanfield.inputs import Inputs
    from meanfield.isometry_batch import CriticalDesign, CriticalRequest, critical_designs
    from meanfield.jacobian_spectra import Spectra, spectra
    from meanfield.network import Gate, Network
    from meanfield.phase_diagrams import PhaseDiagram, phase_diagram
    from meanfield.recipes import Recipe, load, recipe
    from meanfield.sampled_growth import Growth, sample_growth
    from meanfield.sampled_overlap import PairLaw, sample_overlap
    from meanfield.samples import Samples, sample
    from meanfield.singular_value_density import Curve, SingularValues, singular_values
    from meanfield.state_moments import Stationary, stationary
    from meanfield.stationary_law import StationaryLaw, sample_law
    from meanfield.svd import SVDGradient, SVDMatrix
    from meanfield.table_designs import Design, load_design
    from meanfield.table_export import export_table
    from meanfield.table_lookup import lookup
    from meanfield.table_merge import merge_tables
    from meanfield.table_pictures import heat_map
    from meanfield.table_requests import Request
    from meanfield.table_runs import TableRun, table
    from meanfield.weight_ensembles import Ensemble

__all__ = [
    "Analysis",
    "Cell",
    "Certificate",
    "Comparison",
    "CriticalDesign",
    "CriticalInitialisation",
    "CriticalPoint",
    "CriticalRequest",
    "CriticalSurface",
    "Curve",
    "Design",
    "Eigenvalues",
    "Ensemble",
    "Estimate",
    "FixedPointTable",
    "FixedPoints",
    "FreeSpectrum",
    "Gate",
    "GradientBound",
    "Gradients",
    "Growth",
    "Infeasible",
    "Inputs",
    "InvalidInput",
    "MeanfieldError",
    "Network",
    "NotConverged",
    "PairLaw",
    "PhaseDiagram",
    "Profile",
    "Recipe",
    "Request",
    "SVDGradient",
    "SVDMatrix",
    "Samples",
    "SingularValues",
    "Spectra",
    "StaticState",
    "Stationary",
    "StationaryLaw",
    "TableRun",
    "UntiedIsometry",
    "UntiedPredictions",
    "UntiedRequest",
    "analyze",
    "baseline",
    "certify",
    "compare",
    "critical_designs",
    "critical_gain",
    "critical_minimal",
    "critical_point",
    "critical_surface",
    "critical_vanilla",
    "eigenvalues",
    "export_table",
    "fixed_points",
    "fixed_points_of_many",
    "framework_default",
    "free_singular_values",
    "gradient_bound",
    "gradients",
    "heat_map",
    "load",
    "load_design",
    "lookup",
    "merge_tables",
    "phase_diagram",
    "recipe",
    "register",
    "sample",
    "sample_growth",
    "sample_law",
    "sample_overlap",
    "singular_values",
    "spectra",
    "static_states",
    "stationary",
    "table",
    "torch",
    "untied_isometry",
    "untied_predictions",
    "untied_recipe",
    "untied_recipes",
]

# Modules are loaded when first used, so that the import itself is light.
_HOME = {
    "Analysis": "analyses",
    "Cell": "cells",
    "Certificate": "certificates",
    "Comparison": "comparison",
    "CriticalDesign": "isometry_batch",
    "CriticalInitialisation": "critical_initialisations",
    "CriticalPoint": "critical_points",
    "CriticalRequest": "isometry_batch",
    "CriticalSurface": "critical_surfaces",
    "Curve": "singular_value_density",
    "Design": "table_designs",
    "Eigenvalues": "eigenvalue_plane",
    "Ensemble": "weight_ensembles",
    "Estimate": "estimate",
    "FixedPointTable": "closed_batch",
    "FixedPoints": "closed_maps",
    "FreeSpectrum": "free_spectra",
    "Gate": "network",
    "GradientBound": "band_bounds",
    "Gradients": "gradient_profiles",
    "Growth": "sampled_growth",
    "Infeasible": "errors",
    "Inputs": "inputs",
    "InvalidInput": "errors",
    "MeanfieldError": "errors",
    "Network": "network",
    "NotConverged": "errors",
    "PairLaw": "sampled_overlap",
    "PhaseDiagram": "phase_diagrams",
    "Profile": "estimate",
    "Recipe": "recipes",
    "Request": "table_requests",
    "SVDGradient": "svd",
    "SVDMatrix": "svd",
    "Samples": "samples",
    "SingularValues": "singular_value_density",
    "Spectra": "jacobian_spectra",
    "StaticState": "autonomous_states",
    "Stationary": "state_moments",
    "StationaryLaw": "stationary_law",
    "TableRun": "table_runs",
    "UntiedIsometry": "closed_isometry",
    "UntiedPredictions": "exact_predictions",
    "UntiedRequest": "exact_recipes",
    "analyze": "analyses",
    "baseline": "baselines",
    "certify": "certificates",
    "compare": "comparison",
    "critical_designs": "isometry_batch",
    "critical_gain": "critical_gains",
    "critical_minimal": "critical_initialisations",
    "critical_point": "critical_points",
    "critical_surface": "critical_surfaces",
    "critical_vanilla": "critical_initialisations",
    "eigenvalues": "eigenvalue_plane",
    "export_table": "table_export",
    "fixed_points": "closed_maps",
    "fixed_points_of_many": "closed_batch",
    "framework_default": "defaults",
    "free_singular_values": "free_spectra",
    "gradient_bound": "band_bounds",
    "gradients": "gradient_profiles",
    "heat_map": "table_pictures",
    "load": "recipes",
    "load_design": "table_designs",
    "lookup": "table_lookup",
    "merge_tables": "table_merge",
    "phase_diagram": "phase_diagrams",
    "recipe": "recipes",
    "register": "cells",
    "sample": "samples",
    "sample_growth": "sampled_growth",
    "sample_law": "stationary_law",
    "sample_overlap": "sampled_overlap",
    "singular_values": "singular_value_density",
    "spectra": "jacobian_spectra",
    "static_states": "autonomous_states",
    "stationary": "state_moments",
    "table": "table_runs",
    "untied_isometry": "closed_isometry",
    "untied_predictions": "exact_predictions",
    "untied_recipe": "exact_recipes",
    "untied_recipes": "exact_recipes",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("meanfield-rnn")
    if name == "torch":
        return importlib.import_module("meanfield.torch")
    if name in _HOME:
        return getattr(importlib.import_module(f"meanfield.{_HOME[name]}"), name)
    raise AttributeError(f"module 'meanfield' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
