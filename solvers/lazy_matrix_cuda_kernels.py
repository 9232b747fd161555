"""Kernels of lazily revealed Gaussian matrices for CUDA (theory, section 2).

The same arithmetic as on the CPU, with two projections always: to ask whether one is enough would cost a round trip.
A block of threads takes one inner product, whose terms are float32 and whose sum is float64, or 128 neighbouring
entries of a vector or image. No two threads write to the same place.
"""

from __future__ import annotations

from types import ModuleType

from meanfield.solvers import kernel_modules

THREADS = 128

_CONSTANTS = """
SMALLEST_SQUARE = 1e-25
NOTHING = 1e-12
"""

_SUMS = """
@inlined
def summed(value, shared):
    # Over the threads of the block; every thread is given the sum.
    t = cuda.threadIdx.x
    shared[t] = value
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    total = shared[0]
    cuda.syncthreads()
    return total


@inlined
def largest(value, shared):
    t = cuda.threadIdx.x
    shared[t] = value
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half and shared[t + half] > shared[t]:
            shared[t] = shared[t + half]
        cuda.syncthreads()
        half //= 2
    result = shared[0]
    cuda.syncthreads()
    return result


@inlined
def dot(a, b, shared):
    total = 0.0
    for k in range(cuda.threadIdx.x, a.shape[0], THREADS):
        total += a[k] * b[k]
    return summed(total, shared)
"""

_SPLIT = """
@kernel
def measure(vectors, squares, sizes, units):
    # Mean squares, and the factors taken out of vectors whose squares would leave the range of float32. Grid: (vectors,
    # groups).
    shared = cuda.shared.array(THREADS, np.float64)
    i, g = cuda.blockIdx.x, cuda.blockIdx.y
    v = vectors[g, i]
    square = dot(v, v, shared) / units
    size = np.float32(1.0)
    if square < SMALLEST_SQUARE or square > 1.0 / SMALLEST_SQUARE:
        extreme = 0.0
        for k in range(cuda.threadIdx.x, v.shape[0], THREADS):
            extreme = max(extreme, abs(v[k]))
        extreme = largest(extreme, shared)
        if extreme > 0.0 and math.isfinite(extreme):
            size = np.float32(extreme)
            for k in range(cuda.threadIdx.x, v.shape[0], THREADS):
                v[k] /= size
            cuda.syncthreads()
            square = dot(v, v, shared) / units
    if cuda.threadIdx.x == 0:
        squares[g, i] = square
        sizes[g, i] = size


@kernel
def overlap(basis, vectors, count, coefficients, recent, again, units):
    # Coefficients of the vectors, alone and added to those of an earlier projection. Grid: (rank, groups).
    shared = cuda.shared.array(THREADS, np.float64)
    j, g = cuda.blockIdx.x, cuda.blockIdx.y
    for i in range(count):
        x = np.float32(dot(basis[g, j], vectors[g, i], shared) / units)
        if cuda.threadIdx.x == 0:
            recent[g, i, j] = x
            if again:
                coefficients[g, i, j] += x
            else:
                coefficients[g, i, j] = x


@kernel
def take_out(basis, rank, vectors, recent):
    # Grid: (columns / THREADS, vectors, groups).
    k = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    i, g = cuda.blockIdx.y, cuda.blockIdx.z
    if k < vectors.shape[2]:
        known = np.float32(0.0)
        for j in range(rank):
            known += recent[g, i, j] * basis[g, j, k]
        vectors[g, i, k] -= known


@kernel
def extend(vectors, i, room, fresh, squares, left, kept, units, tolerance):
    # The i-th remainder becomes a direction if it is large enough. Grid: groups.
    shared = cuda.shared.array(THREADS, np.float64)
    g = cuda.blockIdx.x
    v = vectors[g, i]
    for b in range(i):
        if kept[g, b] != 0:
            # The second time: once may not be enough among the vectors of one call either.
            x = np.float32(dot(v, vectors[g, b], shared) / units)
            for k in range(cuda.threadIdx.x, v.shape[0], THREADS):
                v[k] -= x * vectors[g, b, k]
            if cuda.threadIdx.x == 0:
                fresh[g, i, b] += x
            cuda.syncthreads()
    square = dot(v, v, shared) / units
    finite = math.isfinite(square)
    new = room > 0 and (square > tolerance * squares[g, i] or not finite)
    norm = np.float32(0.0)
    if new:
        norm = np.float32(math.sqrt(square)) if finite else np.float32(math.nan)
        for k in range(cuda.threadIdx.x, v.shape[0], THREADS):
            v[k] /= norm
    if cuda.threadIdx.x == 0:
        left[g, i] = 1 if square > NOTHING * squares[g, i] or not finite else 0
        kept[g, i] = 1 if new else 0
        for b in range(i):
            fresh[g, b, i] = np.float32(0.0)
        fresh[g, i, i] = norm


@kernel
def deflate(vectors, i, fresh, kept, units):
    # Take the i-th direction out of the later remainders. Grid: (later vectors, groups).
    shared = cuda.shared.array(THREADS, np.float64)
    b, g = i + 1 + cuda.blockIdx.x, cuda.blockIdx.y
    x = np.float32(0.0)
    if kept[g, i] != 0:
        x = np.float32(dot(vectors[g, b], vectors[g, i], shared) / units)
        for k in range(cuda.threadIdx.x, vectors.shape[2], THREADS):
            vectors[g, b, k] -= x * vectors[g, i, k]
    if cuda.threadIdx.x == 0:
        fresh[g, b, i] = x
"""

_JOIN = """
@kernel
def place(basis, slot, vectors, i, count, coefficients, fresh, kept):
    # Grid: (columns / THREADS, groups).
    k = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    g = cuda.blockIdx.y
    if k < basis.shape[2]:
        basis[g, slot, k] = vectors[g, i, k] if kept[g, i] != 0 else np.float32(0.0)
    if k == 0:
        for b in range(count):
            coefficients[g, b, slot] = fresh[g, b, i]


@kernel
def show(vectors, i, images, slot, kept, left, shown, shown_images, seen, units):
    # What the transposed matrix has shown of the i-th direction or of a remainder that is none. Grid: (shown, groups).
    shared = cuda.shared.array(THREADS, np.float64)
    j, g = cuda.blockIdx.x, cuda.blockIdx.y
    x = 0.0
    if left[g, i] != 0:
        x = dot(shown_images[g, j], vectors[g, i], shared)
        if kept[g, i] != 0 and slot >= 0:
            x -= dot(shown[g, j], images[g, slot], shared)
    if cuda.threadIdx.x == 0:
        seen[g, i, j] = np.float32(x / units)


@kernel
def condition(images, slot, i, kept, shown, seen):
    # Grid: (rows / THREADS, groups).
    k = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    g = cuda.blockIdx.y
    if k < images.shape[2] and kept[g, i] != 0:
        known = np.float32(0.0)
        for j in range(seen.shape[2]):
            known += seen[g, i, j] * shown[g, j, k]
        images[g, slot, k] += known


@kernel
def combine(images, rank, coefficients, slots, fresh, sizes, left, kept, shown, seen, shown_rank, out):
    # Grid: (rows / THREADS, vectors, groups).
    k = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    b, g = cuda.blockIdx.y, cuda.blockIdx.z
    if k < out.shape[2]:
        total = np.float32(0.0)
        for j in range(rank):
            total += coefficients[g, b, j] * images[g, j, k]
        if shown_rank > 0:
            for i in range(b + 1):
                if left[g, i] != 0 and (kept[g, i] == 0 or slots[i] < 0):
                    share = fresh[g, b, i]
                    if kept[g, i] == 0:
                        share = np.float32(1.0) if i == b else np.float32(0.0)
                    known = np.float32(0.0)
                    for j in range(shown_rank):
                        known += seen[g, i, j] * shown[g, j, k]
                    total += share * known
        out[g, b, k] = total * sizes[g, b]
"""


def kernels(threads: int = THREADS) -> ModuleType:
    """The kernels for this many threads a block, a power of two; compiled when first launched."""
    parts = [f"THREADS = {threads}", _CONSTANTS, _SUMS, _SPLIT, _JOIN]
    return kernel_modules.load("lazy_matrix_cuda", kernel_modules.assemble(parts, target="cuda"))
