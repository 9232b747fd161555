"""Inner products and sums of rows for kernels on the CPU: contiguous loops that the compiler turns into vectors.

Entries are float32. Products are summed in float32 over short runs and in float64 over the runs. Four rows are taken
at a time, so that the vector which they meet is loaded once for all of them.
"""

ROWS = """
RUN = 512


@intrinsic
def apart(context):
    def generate(context, builder, signature, arguments):
        # The compiler would put a copy of every loop into every caller, which takes it seconds.
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()
    return types.void(), generate


# Not the header's flags, which rule infinities out: vectors that are no numbers must come out as such.
# Without reference counts: these functions make nothing but rows of arrays, and to count those takes longer than to sum
# many of them.
inner = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False, "error_model": "numpy"}
calculation = njit(fastmath={"contract"}, **inner)
# Reassociation makes vectors out of sums. The order is settled when the code is compiled, so sums stay reproducible.
summation = njit(fastmath={"contract", "nsz", "reassoc"}, **inner)


@summation
def short_dot(a, b):
    apart()
    wide_vectors()
    total = np.float32(0.0)
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total


@summation
def short_dots(a, b, c, d, v):
    apart()
    wide_vectors()
    v_a = v_b = v_c = v_d = np.float32(0.0)
    for k in range(v.shape[0]):
        x = v[k]
        v_a += a[k] * x
        v_b += b[k] * x
        v_c += c[k] * x
        v_d += d[k] * x
    return v_a, v_b, v_c, v_d


@summation
def short_dots_of_two(a, b, c, d, v, u):
    apart()
    wide_vectors()
    v_a = v_b = v_c = v_d = u_a = u_b = u_c = u_d = np.float32(0.0)
    for k in range(v.shape[0]):
        x = v[k]
        y = u[k]
        v_a += a[k] * x
        v_b += b[k] * x
        v_c += c[k] * x
        v_d += d[k] * x
        u_a += a[k] * y
        u_b += b[k] * y
        u_c += c[k] * y
        u_d += d[k] * y
    return v_a, v_b, v_c, v_d, u_a, u_b, u_c, u_d


@calculation
def dots(a, b, c, d, v, x, units):
    # Their averages over the units go to x.
    apart()
    v_a = v_b = v_c = v_d = 0.0
    for s in range(0, v.shape[0], RUN):
        e = s + RUN
        p, q, r, t = short_dots(a[s:e], b[s:e], c[s:e], d[s:e], v[s:e])
        v_a += p
        v_b += q
        v_c += r
        v_d += t
    x[0], x[1] = np.float32(v_a / units), np.float32(v_b / units)
    x[2], x[3] = np.float32(v_c / units), np.float32(v_d / units)


@calculation
def dots_of_two(a, b, c, d, v, x, u, y, units):
    apart()
    v_a = v_b = v_c = v_d = u_a = u_b = u_c = u_d = 0.0
    for s in range(0, v.shape[0], RUN):
        e = s + RUN
        p, q, r, t, i, j, k, l = short_dots_of_two(a[s:e], b[s:e], c[s:e], d[s:e], v[s:e], u[s:e])
        v_a += p
        v_b += q
        v_c += r
        v_d += t
        u_a += i
        u_b += j
        u_c += k
        u_d += l
    x[0], x[1] = np.float32(v_a / units), np.float32(v_b / units)
    x[2], x[3] = np.float32(v_c / units), np.float32(v_d / units)
    y[0], y[1] = np.float32(u_a / units), np.float32(u_b / units)
    y[2], y[3] = np.float32(u_c / units), np.float32(u_d / units)


@calculation
def dot(a, b):
    apart()
    total = 0.0
    for s in range(0, a.shape[0], RUN):
        total += short_dot(a[s : s + RUN], b[s : s + RUN])
    return total


@calculation
def add(out, x, a):
    apart()
    wide_vectors()
    for k in range(out.shape[0]):
        out[k] += x * a[k]


@calculation
def add_four(out, x, a, y, b, z, c, w, d):
    apart()
    wide_vectors()
    for k in range(out.shape[0]):
        out[k] += x * a[k] + y * b[k] + z * c[k] + w * d[k]


@calculation
def copy(out, a):
    for k in range(out.shape[0]):
        out[k] = a[k]


@calculation
def clear(out):
    for k in range(out.shape[0]):
        out[k] = np.float32(0.0)


@calculation
def scale(out, x):
    apart()
    wide_vectors()
    for k in range(out.shape[0]):
        out[k] *= x
"""
