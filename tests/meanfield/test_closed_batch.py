"""Many networks at once are held to closed forms in 30 digits and to one network at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import mpmath
import numpy as np
import pytest

import meanfield as mf
from meanfield.cells import find
from meanfield.closed_batch import FixedPointTable, fixed_points_of_many
from meanfield.closed_batch_rules import COLUMNS
from meanfield.closed_cells import NotClosed
from meanfield.closed_maps import fixed_points
from meanfield.solvers.bounded_arithmetic import Bounded

TOGETHER = ["vanilla", "vanilla_erf", "leaky", "minimal", "gru", "janet", "peephole_lstm"]
ALONE = ["vanilla_relu", "gru_reset_after"]


def drawn(cell: str, count: int, seed: int) -> tuple[list[mf.Network], list[mf.Inputs]]:
    """Networks of moderate gains, every one with inputs of its own."""
    generator = np.random.default_rng([seed, len(cell)])
    definition = find(cell)
    recurrent = {each.gate for each in definition.fields}
    largest = 0.8 if cell == "vanilla_relu" else 2.0
    networks = [
        mf.Network(
            cell,
            {
                name: mf.Gate(
                    recurrent_gain=float(generator.uniform(0.0, largest)) if name in recurrent else 0.0,
                    input_gain=float(generator.uniform(0.0, 1.5)) if name in definition.input_gates else 0.0,
                    bias_mean=float(generator.normal()),
                    bias_std=float(generator.uniform(0.0, 0.5)),
                )
                for name in definition.gates
            },
        )
        for _ in range(count)
    ]
    inputs = [
        mf.Inputs(
            power=float(generator.uniform(0.1, 2.0)), overlap=float(generator.choice([-1.0, -0.3, 0.0, 0.5, 1.0]))
        )
        for _ in range(count)
    ]
    return networks, inputs


def hard(cell: str) -> Iterator[tuple[mf.Network, mf.Inputs]]:
    """Networks at the ends of their ranges."""
    ((network,), (inputs,)) = drawn(cell, 1, 99)
    recurrent = {each.gate for each in find(cell).fields}
    first = next(name for name in network.gates if name in recurrent)

    def changed(**laws: float) -> mf.Network:
        gates = {
            name: replace(gate, **{law: value for law, value in laws.items() if getattr(gate, law) != 0.0})
            for name, gate in network.gates.items()
        }
        return mf.Network(cell, gates)

    yield changed(recurrent_gain=0.0), inputs
    yield changed(recurrent_gain=10.0), inputs
    yield changed(bias_mean=0.0), mf.Inputs(overlap=0.0)
    yield changed(bias_mean=0.0, bias_std=0.0), mf.Inputs(power=0.0)
    yield changed(bias_mean=0.0, bias_std=0.0), mf.Inputs(overlap=-1.0)
    yield changed(bias_std=0.0), mf.Inputs(power=0.0)
    yield changed(recurrent_gain=3.0, bias_mean=0.0, bias_std=0.0), mf.Inputs(power=0.0, overlap=1.0)
    for bias in (-50.0, 12.0, 50.0):
        gates = {**network.gates, first: replace(network.gates[first], bias_mean=bias)}
        yield mf.Network(cell, gates), inputs
    yield network, mf.Inputs(overlap=1.0)
    yield network, mf.Inputs(overlap=-1.0)


def columns(table: FixedPointTable) -> dict[str, Bounded]:
    return {name: getattr(table, name) for name in COLUMNS}


def one_by_one(network: mf.Network, inputs: mf.Inputs) -> mf.FixedPoints | str:
    """What is said of one network, or why there is nothing to say."""
    try:
        return fixed_points(network, inputs)
    except mf.NotConverged as error:
        return str(error)


def expect(table: FixedPointTable) -> None:
    """Check that a table says what is said of its networks one by one."""
    for index, (network, inputs) in enumerate(zip(table.networks, table.inputs, strict=True)):
        found = {name: each[index] for name, each in columns(table).items()}
        one = one_by_one(network, inputs)
        if isinstance(one, str):
            assert table.status[index] == one
            assert all(np.isnan(each.value) and np.isnan(each.error) for each in found.values())
            continue
        assert table.status[index] == ""
        (point,) = [each for each in one.overlaps if each.reached]
        numbers = (
            one.law.mean,
            one.law.second_moment,
            point.overlap,
            one.growth.chi,
            point.slope,
            one.growth.timescale,
            point.timescale,
        )
        for each, number in zip(found.values(), numbers, strict=True):
            if number is None:
                assert np.isnan(each.value)
                assert np.isnan(each.error)
            else:
                assert abs(each.value - number.value) <= each.error + number.error


class TestLikeOneByOne:
    @pytest.mark.parametrize("cell", TOGETHER)
    def test_moderate_networks(self, cell: str) -> None:
        table = fixed_points_of_many(*drawn(cell, 24, seed=1), threads=1)
        expect(table)
        assert np.mean(table.alone) < 0.5
        together = ~table.alone
        assert np.all(table.second_moment.error[together] <= 1e-10 * table.second_moment.value[together])
        assert np.all(table.chi.error[together] <= 1e-10 * table.chi.value[together])

    @pytest.mark.parametrize("cell", TOGETHER)
    def test_hard_networks(self, cell: str) -> None:
        networks, inputs = zip(*hard(cell), strict=True)
        expect(fixed_points_of_many(networks, inputs, threads=1))

    @pytest.mark.parametrize("cell", ALONE)
    def test_cells_that_have_no_common_rule(self, cell: str) -> None:
        table = fixed_points_of_many(*drawn(cell, 1, seed=2))
        assert np.all(table.alone)
        expect(table)

    def test_steep_gates_are_handed_over(self) -> None:
        network = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=50.0, bias_std=1.0)})
        table = fixed_points_of_many([network])
        assert table.alone.tolist() == [True]
        expect(table)

    def test_chaos_without_inputs(self) -> None:
        gains = np.linspace(1.2, 2.0, 9)
        networks = [mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=float(gain))}) for gain in gains]
        table = fixed_points_of_many(networks, mf.Inputs(power=0.0))
        assert not np.any(table.alone)
        assert np.all(np.abs(table.overlap.value) <= table.overlap.error)
        assert np.all(np.isnan(table.timescale.value))  # χ_1 > 1
        expect(table)


class TestClosedForms:
    @pytest.mark.parametrize("seed", range(3))
    def test_error_function_networks(self, seed: int) -> None:
        # E erf² and its slopes are arcsines and roots, so every number has a closed equation.
        generator = np.random.default_rng(seed)
        gates = [
            mf.Gate(
                recurrent_gain=float(generator.uniform(0.2, 2.5)),
                input_gain=float(generator.uniform(0.3, 1.5)),
                bias_std=float(generator.uniform(0.0, 0.5)),
            )
            for _ in range(12)
        ]
        overlap = float(generator.uniform(0.0, 0.9))
        networks = [mf.Network("vanilla_erf", {"h": gate}) for gate in gates]
        table = fixed_points_of_many(networks, mf.Inputs(power=0.7, overlap=overlap))
        for index, gate in enumerate(gates):
            with mpmath.workdps(30):
                exact = with_mpmath(gate, 0.7, overlap, table.second_moment.value[index], table.overlap.value[index])
            for name, number in exact.items():
                found = getattr(table, name)[index]
                assert abs(found.value - number) <= found.error
                assert found.error < 1e-8 * max(1.0, abs(number))


def with_mpmath(gate: mf.Gate, power: float, overlap: float, near_q: float, near_c: float) -> dict[str, mpmath.mpf]:
    """Fixed points of the arcsine maps."""
    gain = mpmath.mpf(gate.recurrent_gain) ** 2
    drive, spread = mpmath.mpf(gate.input_gain) ** 2 * mpmath.mpf(power), mpmath.mpf(gate.bias_std) ** 2

    def image(covariance: mpmath.mpf, variance: mpmath.mpf) -> mpmath.mpf:
        return 2 / mpmath.pi * mpmath.asin(2 * covariance / (1 + 2 * variance))

    def slope(covariance: mpmath.mpf, variance: mpmath.mpf) -> mpmath.mpf:
        return gain * 4 / mpmath.pi / mpmath.sqrt((1 + 2 * variance) ** 2 - 4 * covariance**2)

    def variance_at(q: mpmath.mpf) -> mpmath.mpf:
        return gain * q + drive + spread

    def covariance_at(product: mpmath.mpf) -> mpmath.mpf:
        return gain * product + drive * mpmath.mpf(overlap) + spread

    q = mpmath.findroot(lambda q: image(variance_at(q), variance_at(q)) - q, mpmath.mpf(float(near_q)))
    variance = variance_at(q)
    product = mpmath.findroot(lambda p: image(covariance_at(p), variance) - p, q * mpmath.mpf(float(near_c)))
    chi, overlap_slope = slope(variance, variance), slope(covariance_at(product), variance)
    found = {"second_moment": q, "overlap": product / q, "chi": chi, "overlap_slope": overlap_slope}
    found["overlap_timescale"] = -1 / mpmath.log(overlap_slope)
    if chi < 1:
        found["timescale"] = -1 / mpmath.log(chi)
    return found


class TestTable:
    def test_keeps_the_order(self) -> None:
        networks, inputs = drawn("gru", 30, seed=3)
        steep = mf.Network("gru", {name: replace(gate, recurrent_gain=9.0) for name, gate in networks[0].gates.items()})
        networks[4] = networks[17] = steep
        shuffled = np.random.default_rng(0).permutation(len(networks)).tolist()
        table = fixed_points_of_many(networks, inputs)
        other = fixed_points_of_many([networks[i] for i in shuffled], [inputs[i] for i in shuffled])
        assert other.networks == tuple(networks[i] for i in shuffled)
        assert len(table) == len(networks)
        for left, right in zip(columns(table).values(), columns(other).values(), strict=True):
            off = np.abs(left.value[shuffled] - right.value)
            assert np.all((off <= left.error[shuffled] + right.error) | np.isnan(right.value))

    def test_threads_do_not_change_the_numbers(self) -> None:
        networks, inputs = drawn("vanilla", 1200, seed=4)
        one, two, three = (fixed_points_of_many(networks, inputs, threads=threads) for threads in (1, 2, 3))
        for other in (two, three):
            for left, right in zip(columns(one).values(), columns(other).values(), strict=True):
                assert np.array_equal(left.value, right.value, equal_nan=True)
                assert np.array_equal(left.error, right.error, equal_nan=True)

    def test_a_network_without_fixed_point_leaves_its_neighbours_alone(self) -> None:
        networks, inputs = drawn("peephole_lstm", 6, seed=5)
        gates = {
            "i": mf.Gate(10.0, 10.0, 1.0, 3.0),
            "f": mf.Gate(0.5, 0.1, 50.0, 0.0),  # all memory is kept, and its own field decides how much more
            "g": mf.Gate(3.0, 0.0, 0.0, 3.0),
        }
        spoilt = [*networks[:2], mf.Network("peephole_lstm", gates), *networks[3:]]
        inputs[2] = mf.Inputs(power=5.0)
        table, before = (fixed_points_of_many(each, inputs) for each in (spoilt, networks))
        assert [bool(each) for each in table.status] == [False, False, True, False, False, False]
        kept = [0, 1, 3, 4, 5]
        for left, right in zip(columns(table).values(), columns(before).values(), strict=True):
            assert np.isnan(left.value[2])
            off = np.abs(left.value[kept] - right.value[kept])
            assert np.all((off <= left.error[kept] + right.error[kept]) | np.isnan(right.value[kept]))

    def test_progress(self) -> None:
        networks, inputs = drawn("vanilla", 700, seed=6)
        networks[3] = mf.Network("vanilla", {"h": mf.Gate(recurrent_gain=50.0, bias_std=1.0)})
        told: list[tuple[int, int]] = []
        fixed_points_of_many(networks, inputs, threads=2, progress=lambda done, total: told.append((done, total)))
        assert len(told) >= 3
        assert told[-1] == (700, 700)
        assert all(total == 700 for _, total in told)
        assert [done for done, _ in told] == sorted({done for done, _ in told})

    def test_an_error_of_the_callback_comes_out(self) -> None:
        def fails(done: int, total: int) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            fixed_points_of_many(*drawn("vanilla", 1200, seed=7), threads=2, progress=fails)

    def test_no_networks(self) -> None:
        table = fixed_points_of_many([])
        assert len(table) == 0
        assert table.status == ()
        assert all(each.value.shape == each.error.shape == (0,) for each in columns(table).values())


class TestRefused:
    def test_mixed_cells(self) -> None:
        with pytest.raises(mf.InvalidInput, match="one cell, got janet, gru"):
            fixed_points_of_many([*drawn("janet", 2, 0)[0], *drawn("gru", 1, 0)[0]])

    def test_too_few_inputs(self) -> None:
        with pytest.raises(mf.InvalidInput, match="each of the 3 networks, got 2"):
            fixed_points_of_many(drawn("janet", 3, 0)[0], [mf.Inputs()] * 2)

    def test_inputs_that_end(self) -> None:
        with pytest.raises(mf.InvalidInput, match="white"):
            fixed_points_of_many(drawn("janet", 1, 0)[0], mf.Inputs.padded(signal=3, length=9))

    def test_no_threads(self) -> None:
        with pytest.raises(mf.InvalidInput, match="threads"):
            fixed_points_of_many(drawn("janet", 1, 0)[0], threads=0)

    def test_cells_that_do_not_close(self) -> None:
        with pytest.raises(NotClosed, match="2 state variables"):
            fixed_points_of_many([mf.Network("lstm", dict.fromkeys("ifgo", mf.Gate(1.0)))])
