"""Compiled inner loops of lazily revealed Gaussian matrices, for the CPU (theory, section 2).

Everything is bound by how fast the basis and the images are read, so each call reads them once: four rows of the basis
at a time stay in the nearest cache while they are used twice, for the coefficients and for the remainder, and for all
vectors.

A direction that lost much in its projection has to be projected again. With one vector a call that second projection
is put off to the next call, where it reads the basis together with the next vector's first; until then the direction is
orthogonal up to rounding over its remainder, and the images returned are right up to rounding.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from meanfield.solvers import kernel_modules
from meanfield.solvers.row_kernels import ROWS

_CONSTANTS = """
SMALLEST_SQUARE = 1e-25  # mean squares between this and its inverse can be summed in float32
REORTHOGONALISE_BELOW = 0.5  # share of the squared norm left outside the span under which one projection is not enough
NOTHING = 1e-12  # share under which what is left is rounding
"""

_PROJECTIONS = """
@calculation
def project(basis, rank, vectors, count, coefficients, recent, units):
    # Take the span of the basis out of the vectors and add what was taken to their coefficients.
    apart()
    whole = rank - rank % 4
    pairs = count - count % 2
    for j in range(0, whole, 4):
        a, b, c, d = basis[j], basis[j + 1], basis[j + 2], basis[j + 3]
        for i in range(0, pairs, 2):
            dots_of_two(a, b, c, d, vectors[i], recent[i], vectors[i + 1], recent[i + 1], units)
        for i in range(pairs, count):
            dots(a, b, c, d, vectors[i], recent[i], units)
        for i in range(count):
            x = recent[i]
            for k in range(4):
                coefficients[i, j + k] += x[k]
            add_four(vectors[i], -x[0], a, -x[1], b, -x[2], c, -x[3], d)
    for j in range(whole, rank):
        for i in range(count):
            x = np.float32(dot(basis[j], vectors[i]) / units)
            coefficients[i, j] += x
            add(vectors[i], -x, basis[j])


@calculation
def normalise(row, units):
    apart()
    square = dot(row, row) / units
    if square > 0.0:
        scale(row, np.float32(1.0 / math.sqrt(square)))


@calculation
def project_again(basis, rank, vectors, count, coefficients, recent, units):
    # The same with the second projection of the basis' last row, which rides along behind the vectors.
    last = basis[rank - 1]
    copy(vectors[count], last)
    project(basis, rank - 1, vectors, count + 1, coefficients, recent, units)
    copy(last, vectors[count])
    normalise(last, units)
    for i in range(count):
        x = np.float32(dot(last, vectors[i]) / units)
        coefficients[i, rank - 1] += x
        add(vectors[i], -x, last)


@calculation
def combine(images, rank, coefficients, count, out):
    for i in range(count):
        clear(out[i])
    whole = rank - rank % 4
    for j in range(0, whole, 4):
        a, b, c, d = images[j], images[j + 1], images[j + 2], images[j + 3]
        for i in range(count):
            row = coefficients[i]
            add_four(out[i], row[j], a, row[j + 1], b, row[j + 2], c, row[j + 3], d)
    for j in range(whole, rank):
        for i in range(count):
            add(out[i], coefficients[i, j], images[j])


@calculation
def condition(vector, image, basis, images, rank, recent, units):
    # Give the image of a vector the components along the basis that the transposed matrix has shown.
    apart()
    whole = rank - rank % 4
    x, y = recent[0], recent[1]
    for j in range(0, whole, 4):
        a, b, c, d = basis[j], basis[j + 1], basis[j + 2], basis[j + 3]
        dots(a, b, c, d, image, x, units)
        dots(images[j], images[j + 1], images[j + 2], images[j + 3], vector, y, units)
        add_four(image, y[0] - x[0], a, y[1] - x[1], b, y[2] - x[2], c, y[3] - x[3], d)
    for j in range(whole, rank):
        add(image, np.float32((dot(images[j], vector) - dot(basis[j], image)) / units), basis[j])
"""

_STEPS = """
@calculation
def unit_size(vector, units):
    apart()
    # Mean square, and the factor that was taken out of a vector whose squares would leave the range of float32.
    square = dot(vector, vector) / units
    size = np.float32(1.0)
    if square < SMALLEST_SQUARE or square > 1.0 / SMALLEST_SQUARE:
        largest = np.float32(0.0)
        for k in range(vector.shape[0]):
            largest = max(largest, abs(vector[k]))
        if largest > 0.0 and math.isfinite(largest):
            size = largest
            for k in range(vector.shape[0]):
                vector[k] /= size
            square = dot(vector, vector) / units
    return square, size


@calculation
def split(
    basis, rank, room, vectors, count, coefficients, recent, fresh, squares, sizes, left, kept, pending, units,
    tolerance, put_off,
):
    # Known and new parts of a group's vectors. A new direction replaces its vector; what is dropped stays as it is.
    for i in range(count):
        squares[i], sizes[i] = unit_size(vectors[i], units)
    for i in range(count + 1):
        clear(coefficients[i])
    for i in range(count):
        clear(fresh[i])
    if pending[0]:
        project_again(basis, rank, vectors, count, coefficients, recent, units)
        pending[0] = False
    else:
        project(basis, rank, vectors, count, coefficients, recent, units)
    again = False
    for i in range(count):
        square = dot(vectors[i], vectors[i]) / units
        # What is going to be dropped in any case need not be orthogonal to the last digit.
        again |= 0.5 * tolerance * squares[i] < square < REORTHOGONALISE_BELOW * squares[i]
    if again and rank > 0 and room > 0 and not put_off:
        project(basis, rank, vectors, count, coefficients, recent, units)
    for i in range(count):
        v = vectors[i]
        for earlier in range(i):
            if kept[earlier]:
                # The second time: once may not be enough among the vectors of one call either.
                x = np.float32(dot(v, vectors[earlier]) / units)
                fresh[i, earlier] += x
                add(v, -x, vectors[earlier])
        square = dot(v, v) / units
        left[i] = square > NOTHING * squares[i] or not math.isfinite(square)
        # Vectors out of the range of numbers must not pass for vectors that are known: their images are no numbers.
        kept[i] = room > 0 and (square > tolerance * squares[i] or not math.isfinite(square))
        if kept[i]:
            if put_off:
                pending[0] = rank > 0 and square < REORTHOGONALISE_BELOW * squares[i]
            norm = np.float32(math.sqrt(square)) if math.isfinite(square) else np.float32(np.nan)
            fresh[i, i] = norm
            scale(v, np.float32(1.0) / norm)
            for later in range(i + 1, count):
                x = np.float32(dot(vectors[later], v) / units)
                fresh[later, i] = x
                add(vectors[later], -x, v)


@calculation
def place(basis, images, slots, vectors, count, coefficients, fresh, kept):
    for i in range(count):
        slot = slots[i]
        if slot >= 0:
            if kept[i]:
                copy(basis[slot], vectors[i])
            else:
                clear(basis[slot])
            for b in range(count):
                coefficients[b, slot] = fresh[b, i]


@calculation
def add_unplaced(
    slots, vectors, count, recent, fresh, left, kept, spare, shown, shown_images, shown_rank, units, out
):
    # What was not given a direction has no fresh image, but what the transposed matrix has shown of it.
    for i in range(count):
        if left[i] and not (kept[i] and slots[i] >= 0):
            clear(spare)
            condition(vectors[i], spare, shown, shown_images, shown_rank, recent, units)
            if kept[i]:
                for b in range(i, count):
                    add(out[b], fresh[b, i], spare)
            else:
                add(out[i], np.float32(1.0), spare)


@calculation
def join(
    basis, images, rank, slots, vectors, count, coefficients, recent, fresh, sizes, left, kept, spare, shown,
    shown_images, shown_rank, units, out,
):
    place(basis, images, slots, vectors, count, coefficients, fresh, kept)
    if shown_rank > 0:
        for i in range(count):
            if kept[i] and slots[i] >= 0:
                condition(vectors[i], images[slots[i]], shown, shown_images, shown_rank, recent, units)
    combine(images, rank, coefficients, count, out)
    if shown_rank > 0:
        add_unplaced(
            slots, vectors, count, recent, fresh, left, kept, spare, shown, shown_images, shown_rank, units, out
        )
    for i in range(count):
        if sizes[i] != 1.0:
            scale(out[i], sizes[i])


@kernel
def split_groups(
    start, end, basis, rank, room, vectors, count, coefficients, recent, fresh, squares, sizes, left, kept, pending,
    units, tolerance, put_off,
):
    for g in range(start, end):
        split(
            basis[g], rank, room, vectors[g], count, coefficients[g], recent[g], fresh[g], squares[g], sizes[g],
            left[g], kept[g], pending[g], units, tolerance, put_off,
        )


@kernel
def join_groups(
    start, end, basis, images, rank, slots, vectors, count, coefficients, recent, fresh, sizes, left, kept, spare,
    shown, shown_images, shown_rank, units, out,
):
    for g in range(start, end):
        join(
            basis[g], images[g], rank, slots, vectors[g], count, coefficients[g], recent[g], fresh[g], sizes[g],
            left[g], kept[g], spare[g], shown[g], shown_images[g], shown_rank, units, out[g],
        )


@kernel
def settle_groups(start, end, basis, rank, vectors, coefficients, recent, pending, units):
    for g in range(start, end):
        if pending[g, 0]:
            project_again(basis[g], rank, vectors[g], 0, coefficients[g], recent[g], units)
            pending[g, 0] = False
"""


def kernels() -> ModuleType:
    """``split_groups``, ``join_groups`` and ``settle_groups``, compiled when first called."""
    return kernel_modules.load("lazy_matrix", _text())


@cache
def _text() -> str:
    return kernel_modules.assemble([ROWS, _CONSTANTS, _PROJECTIONS, _STEPS])
