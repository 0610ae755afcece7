// The finest level, where the bond of i and j is b_i b_j, and the conjugate gradients on it.

struct Finest {
    int n;
    const float* b;
    const float* s;
    float *x, *y;

    __device__ __forceinline__ float own(const Stencil& at) const { return b[at.site[0]]; }
    __device__ __forceinline__ float bond(const Stencil& at, int d) const { return b[at.site[d]]; }
};

// Scalars of the conjugate gradients, as SCALARS in solver_gpu.py.
struct Scalars {
    double with_r, with_q;  // z r and z q, q of the iteration before
    double curvature;       // p A p
    double alpha, beta;
    double previous;  // z r of the iteration before
    double sums[2];   // of `collect`
};

extern "C" __global__ void __launch_bounds__(256) finest_pre_smooth(
    const float* b, const float* s, float* x, int n, int depth)
{
    pre_smooth(Grid{depth}, Finest{n, b, s, x, nullptr});
}

extern "C" __global__ void __launch_bounds__(256, 4) finest_restrict(
    const float* b, const float* s, float* x, int n, float* below, int n_below, int depth)
{
    restrict_residual(Grid{depth}, Finest{n, b, s, x, nullptr}, Coarse(below, n_below));
}

extern "C" __global__ void __launch_bounds__(256) finest_post_smooth_1(
    const float* b, const float* s, float* x, float* y, int n, float* below, int n_below, int depth)
{
    post_smooth_1(Grid{depth}, Finest{n, b, s, x, y}, Coarse(below, n_below));
}

// The end of the cycle: z in x; leaves the sums of z r and z q.
extern "C" __global__ void __launch_bounds__(256) finest_post_smooth_2(
    const float* b, const float* s, float* x, float* y, const double* q, int n, float* below,
    int n_below, int depth, double* partial)
{
    Finest level{n, b, s, x, y};
    double with_r = 0.0, with_q = 0.0;
    post_smooth_2(
        Grid{depth}, level, Coarse(below, n_below),
        [&](const Stencil& at, const Flow<float>& f, float z) {
            int site = at.site[0];
            x[site] = z;
            with_r += (double)z * level.own(at) * f.bonds * s[site];
            with_q += (double)z * q[site];
        });
    leave(with_r, partial, 0);
    leave(with_q, partial, 1);
}

// Polak-Ribiere, as z is not a linear function of r; here r - r_before = -alpha q.
extern "C" __global__ void choose_direction(Scalars* scalars, const double* partial, int blocks)
{
    double with_r = collected(partial, 0, blocks);
    double with_q = collected(partial, 1, blocks);
    if (threadIdx.x > 0) return;
    scalars->with_r = with_r;
    scalars->with_q = with_q;
    scalars->beta = -scalars->alpha * with_q / scalars->previous;
}

// x += alpha p, put off from the iteration before; then p = z + beta p.
extern "C" __global__ void turn(
    const float* z, double* p, double* x, const Scalars* scalars, int sites)
{
    int site = blockIdx.x * blockDim.x + threadIdx.x;
    if (site >= sites) return;
    double before = p[site];
    x[site] += scalars->alpha * before;
    p[site] = z[site] + scalars->beta * before;
}

// q = A p; leaves the sum of p q.
extern "C" __global__ void __launch_bounds__(256) apply(
    const float* b, const double* p, double* q, int n, int depth, double* partial)
{
    Finest level{n, b, nullptr, nullptr, nullptr};
    double curvature = 0.0;
    Grid{depth}.each(n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, n);
        Flow<double> f = flow<double>(level, at, [&](int d) { return p[at.site[d]]; });
        double product = level.own(at) * f.outflow;
        q[at.site[0]] = product;
        curvature += p[at.site[0]] * product;
    });
    leave(curvature, partial, 0);
}

// alpha, the length of the step along p.
extern "C" __global__ void choose_length(Scalars* scalars, const double* partial, int blocks)
{
    double curvature = collected(partial, 0, blocks);
    if (threadIdx.x > 0) return;
    scalars->curvature = curvature;
    scalars->alpha = curvature > 0.0 ? scalars->with_r / curvature : 0.0;
    scalars->previous = scalars->with_r;
}

// D^-1 r in single precision.
__device__ __forceinline__ float scaled(const Finest& level, const Stencil& at, double r)
{
    double bonds = flow<double>(level, at, [](int) { return 0.0; }).bonds;
    double diagonal = level.own(at) * bonds;
    return diagonal > 0.0 ? (float)(r / diagonal) : 0.0f;
}

// r -= alpha q and s = D^-1 r; leaves the sum of r r.
extern "C" __global__ void __launch_bounds__(256) advance(
    const float* b, const double* q, const Scalars* scalars, double* r, float* s, int n,
    int depth, double* partial)
{
    Finest level{n, b, nullptr, nullptr, nullptr};
    double alpha = scalars->alpha, square = 0.0;
    Grid{depth}.each(n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, n);
        int site = at.site[0];
        double value = r[site] - alpha * q[site];
        r[site] = value;
        s[site] = scaled(level, at, value);
        square += value * value;
    });
    leave(square, partial, 0);
}

// f_i = b_i (b_(i+e) - b_(i-e)), in units of h; e: unit vector of the axis.
__device__ __forceinline__ double force(const Finest& level, const Stencil& at, int axis)
{
    double own = level.own(at);
    return own * level.b[next(at, axis)] - own * level.b[last(at, axis)];
}

// r = f, s = D^-1 f; leaves the sums of r r and of the bonds along the axis.
extern "C" __global__ void __launch_bounds__(256) right_hand_side(
    const float* b, int axis, double* r, float* s, int n, int depth, double* partial)
{
    Finest level{n, b, nullptr, nullptr, nullptr};
    double square = 0.0, bonds = 0.0;
    Grid{depth}.each(n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, n);
        double value = force(level, at, axis);
        r[at.site[0]] = value;
        s[at.site[0]] = scaled(level, at, value);
        square += value * value;
        bonds += (double)level.own(at) * b[next(at, axis)];
    });
    leave(square, partial, 0);
    leave(bonds, partial, 1);
}

// x += alpha p, the last one put off; chi = x in single precision.
extern "C" __global__ void finish(
    const double* p, double* x, float* chi, const Scalars* scalars, int sites)
{
    int site = blockIdx.x * blockDim.x + threadIdx.x;
    if (site >= sites) return;
    double value = x[site] + scalars->alpha * p[site];
    x[site] = value;
    chi[site] = (float)value;
}

// Leaves the sum of the squares of f - A x.
extern "C" __global__ void __launch_bounds__(256) true_residual(
    const float* b, int axis, const double* x, int n, int depth, double* partial)
{
    Finest level{n, b, nullptr, nullptr, nullptr};
    double square = 0.0;
    Grid{depth}.each(n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, n);
        Flow<double> f = flow<double>(level, at, [&](int d) { return x[at.site[d]]; });
        double value = force(level, at, axis) - level.own(at) * f.outflow;
        square += value * value;
    });
    leave(square, partial, 0);
}

// Leaves the sum over the bonds of b b' (e.n + d chi_e)(f.n + d chi_f), chi in units of h.
extern "C" __global__ void __launch_bounds__(256) energy(
    const float* b, const float* chi_e, const float* chi_f, int e, int f, int n, int depth,
    double* partial)
{
    Finest level{n, b, nullptr, nullptr, nullptr};
    double sum = 0.0;
    Grid{depth}.each(n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, n);
        double here_e = chi_e[at.site[0]], here_f = chi_f[at.site[0]], along = 0.0;
        for (int axis = 0; axis < 3; ++axis) {
            int there = next(at, axis);
            along += b[there] * (chi_e[there] - here_e + (e == axis)) *
                (chi_f[there] - here_f + (f == axis));
        }
        sum += level.own(at) * along;
    });
    leave(sum, partial, 0);
}

// Leaves the sum of a field.
extern "C" __global__ void total(const float* field, int n, int depth, double* partial)
{
    double sum = 0.0;
    Grid{depth}.each(n, [&](int i, int j, int k) { sum += field[(i * n + j) * n + k]; });
    leave(sum, partial, 0);
}

// Sums of what blocks left.
extern "C" __global__ void collect(double* sums, int count, const double* partial, int blocks)
{
    for (int which = 0; which < count; ++which) {
        double sum = collected(partial, which, blocks);
        if (threadIdx.x == 0) sums[which] = sum;
    }
}
