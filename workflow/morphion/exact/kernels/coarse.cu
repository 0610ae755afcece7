// Coarse levels: stored bonds, the K-cycle's combination of two cycles, the coarsest system.

// A level as it lies in memory: eight fields of n^3 floats. wx is the bond of each site to the next
// one along x, likewise wy and wz; s the right-hand side; x and y are worked on; c the solution;
// u = D^-1 A c of the first cycle.
struct Coarse {
    int n;
    float *wx, *wy, *wz, *s, *x, *y, *c, *u;

    __device__ Coarse(float* fields, int edge) : n(edge)
    {
        size_t sites = (size_t)n * n * n;
        wx = fields, wy = wx + sites, wz = wy + sites, s = wz + sites;
        x = s + sites, y = x + sites, c = y + sites, u = c + sites;
    }
    __device__ __forceinline__ float own(const Stencil&) const { return 1.0f; }
    __device__ __forceinline__ float bond(const Stencil& at, int d) const
    {
        const float* w = d < 3 ? wx : d < 5 ? wy : wz;
        return w[at.site[d % 2 ? d : 0]];  // a neighbour below holds the bond itself
    }
};

// What combines the two cycles of a level.
struct Combination {
    double energy_1, step_1;  // of the first cycle
    double first, second;     // coefficients of both
};

// u = D^-1 A c; leaves the sums of c A c and c r.
template <class Over>
__device__ __forceinline__ void first_products(Over over, Coarse level, double* partial)
{
    double energy = 0.0, with_r = 0.0;
    over.each(level.n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, level.n);
        int site = at.site[0];
        Flow<float> f = flow<float>(level, at, [&](int d) { return level.c[at.site[d]]; });
        level.u[site] = f.bonds > 0.0f ? f.outflow / f.bonds : 0.0f;
        energy += (double)level.c[site] * f.outflow;
        with_r += (double)level.c[site] * f.bonds * level.s[site];
    });
    leave(energy, partial, 0);
    leave(with_r, partial, 1);
}

__device__ __forceinline__ void first_step(Combination* found, const double* partial, int blocks)
{
    double energy = collected(partial, 0, blocks);
    double with_r = collected(partial, 1, blocks);
    if (threadIdx.x > 0) return;
    found->energy_1 = energy;
    found->step_1 = energy > 0.0 ? with_r / energy : 0.0;
}

// r -= step A c.
template <class Over>
__device__ __forceinline__ void subtract(Over over, Coarse level, const Combination* found)
{
    float step = (float)found->step_1;
    over.each(level.n, [&](int i, int j, int k) {
        int site = (i * level.n + j) * level.n + k;
        level.s[site] -= step * level.u[site];
    });
}

// Leaves the sums of x A x, x r and x A c.
template <class Over>
__device__ __forceinline__ void second_products(Over over, Coarse level, double* partial)
{
    double energy = 0.0, with_r = 0.0, overlap = 0.0;
    over.each(level.n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, level.n);
        int site = at.site[0];
        Flow<float> f = flow<float>(level, at, [&](int d) { return level.x[at.site[d]]; });
        double weighted = (double)level.x[site] * f.bonds;
        energy += (double)level.x[site] * f.outflow;
        with_r += weighted * level.s[site];
        overlap += weighted * level.u[site];
    });
    leave(energy, partial, 0);
    leave(with_r, partial, 1);
    leave(overlap, partial, 2);
}

__device__ __forceinline__ void second_step(Combination* found, const double* partial, int blocks)
{
    double energy = collected(partial, 0, blocks);
    double with_r = collected(partial, 1, blocks);
    double overlap = collected(partial, 2, blocks);
    if (threadIdx.x > 0) return;
    found->first = 1.0;
    found->second = 0.0;
    if (!(found->energy_1 > 0.0)) return;
    double independent = energy - overlap * overlap / found->energy_1;
    if (independent > 1e-6 * energy) found->second = with_r / independent;
    found->first = found->step_1 - overlap / found->energy_1 * found->second;
}

// c = first c + second x: the best combination, in energy, of the two cycles.
template <class Over>
__device__ __forceinline__ void combine(Over over, Coarse level, const Combination* found)
{
    float first = (float)found->first, second = (float)found->second;
    over.each(level.n, [&](int i, int j, int k) {
        int site = (i * level.n + j) * level.n + k;
        level.c[site] = first * level.c[site] + second * level.x[site];
    });
}

// c of the coarsest level, at most 216 sites: root inverse root r with root = D^-1/2.
__device__ __forceinline__ void direct(Coarse level, const double* root, const double* inverse)
{
    __shared__ double right[216];
    int size = level.n * level.n * level.n;
    for (int site = threadIdx.x; site < size; site += blockDim.x)
        right[site] = root[site] > 0.0 ? level.s[site] / root[site] : 0.0;
    __syncthreads();
    for (int row = threadIdx.x; row < size; row += blockDim.x) {
        double sum = 0.0;
        for (int column = 0; column < size; ++column)
            sum += inverse[column * size + row] * right[column];
        level.c[row] = (float)(root[row] * sum);
    }
}

// Steps of the K-cycle, numbered as STEPS in multigrid_gpu.py.
enum Step {
    PRE_SMOOTH,
    RESTRICT,
    POST_SMOOTH_1,
    POST_SMOOTH_2_TO_C,
    POST_SMOOTH_2_TO_X,
    FIRST_PRODUCTS,
    FIRST_STEP,
    SUBTRACT,
    SECOND_PRODUCTS,
    SECOND_STEP,
    COMBINE,
    DIRECT
};

// found: of this level; blocks: that left what FIRST_STEP and SECOND_STEP collect.
template <class Over>
__device__ __forceinline__ void take(
    int step, Over over, Coarse level, Coarse below, Combination* found, double* partial,
    int blocks)
{
    switch (step) {
    case PRE_SMOOTH: return pre_smooth(over, level);
    case RESTRICT: return restrict_residual(over, level, below);
    case POST_SMOOTH_1: return post_smooth_1(over, level, below);
    case POST_SMOOTH_2_TO_C:
    case POST_SMOOTH_2_TO_X: {
        float* out = step == POST_SMOOTH_2_TO_C ? level.c : level.x;
        return post_smooth_2(
            over, level, below, [&](const Stencil& at, const Flow<float>&, float value) {
                out[at.site[0]] = value;
            });
    }
    case FIRST_PRODUCTS: return first_products(over, level, partial);
    case FIRST_STEP: return first_step(found, partial, blocks);
    case SUBTRACT: return subtract(over, level, found);
    case SECOND_PRODUCTS: return second_products(over, level, partial);
    case SECOND_STEP: return second_step(found, partial, blocks);
    case COMBINE: return combine(over, level, found);
    }
}

// One step on one level by the whole grid.
extern "C" __global__ void __launch_bounds__(256, 4) coarse_step(
    int step, float* level, int n, float* below, int n_below, int depth, Combination* found,
    double* partial, int blocks)
{
    take(step, Grid{depth}, Coarse(level, n), Coarse(below, n_below), found, partial, blocks);
}

// A sequence of steps on the small levels by one block. program: step and level of each, in turn;
// edges and starts: of each level, into `fields`; the last level is the coarsest.
extern "C" __global__ void __launch_bounds__(512) small_levels(
    const int* program, int steps, const int* edges, const int* starts, int levels, float* fields,
    Combination* found, double* partial, const double* root, const double* inverse)
{
    for (int t = 0; t < steps; ++t) {
        int step = program[2 * t], own = program[2 * t + 1];
        int following = own + 1 < levels ? own + 1 : own;
        Coarse level(fields + starts[own], edges[own]);
        Coarse below(fields + starts[following], edges[following]);
        if (step == DIRECT) direct(level, root, inverse);
        else take(step, Block{}, level, below, found + own, partial, 1);
        __syncthreads();
    }
}

// Bonds of a level from those of the level above it: sums over the faces of aggregates, times
// scale[I] for the bond of aggregate I to the next.
template <class Bond>
__device__ __forceinline__ void merge_bonds(
    Coarse level, int n_above, const double* scale, Bond bond)
{
    Grid{1}.each(level.n, [&](int big_i, int big_j, int big_k) {
        int last = n_above - 1;
        int i1 = min(2 * big_i + 1, last), j1 = min(2 * big_j + 1, last);
        int k1 = min(2 * big_k + 1, last);
        double x = 0.0, y = 0.0, z = 0.0;
        for (int j = 2 * big_j; j <= j1; ++j)
            for (int k = 2 * big_k; k <= k1; ++k) x += bond(0, stencil(i1, j, k, n_above));
        for (int i = 2 * big_i; i <= i1; ++i) {
            for (int k = 2 * big_k; k <= k1; ++k) y += bond(1, stencil(i, j1, k, n_above));
            for (int j = 2 * big_j; j <= j1; ++j) z += bond(2, stencil(i, j, k1, n_above));
        }
        int site = (big_i * level.n + big_j) * level.n + big_k;
        level.wx[site] = (float)(scale[big_i] * x);
        level.wy[site] = (float)(scale[big_j] * y);
        level.wz[site] = (float)(scale[big_k] * z);
    });
}

// Bonds of the first coarse level from b of the finest.
extern "C" __global__ void merge_finest(
    const float* b, int n_above, const double* scale, float* level, int n)
{
    merge_bonds(Coarse(level, n), n_above, scale, [&](int axis, const Stencil& at) {
        return (double)b[at.site[0]] * b[next(at, axis)];
    });
}

// Bonds of a coarse level from those of another.
extern "C" __global__ void merge_coarse(
    float* above, int n_above, const double* scale, float* level, int n)
{
    Coarse from(above, n_above);
    merge_bonds(Coarse(level, n), n_above, scale, [&](int axis, const Stencil& at) {
        return (double)(axis == 0 ? from.wx : axis == 1 ? from.wy : from.wz)[at.site[0]];
    });
}
