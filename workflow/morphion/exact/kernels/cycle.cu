// The multigrid cycle of morphion/exact/multigrid.py in single precision, for any kind of level.
//
// With A of a level and its diagonal D, right-hand sides r are kept as s = D^-1 r, and 0 where D is
// 0: smoothing then needs no D of a neighbour, and its first step no kernel. A level has
//     own(at) bond(at, d)    the conductance between a site and its neighbour d
// where own is the same for all neighbours.

// Chebyshev steps (weight, momentum): FIRST, 0 and SECOND, MOMENTUM; see CHEBYSHEV in multigrid.py.
constexpr float FIRST = 2.0f / 3.0f, SECOND = 6.0f / 5.0f, MOMENTUM = 1.0f / 5.0f;

// Sums over the neighbours j of a site i: of the bonds, and of bond times x_i - x_j.
template <class Real> struct Flow {
    Real bonds, outflow;
};

template <class Real, class Level, class Field>
__device__ __forceinline__ Flow<Real> flow(const Level& level, const Stencil& at, Field x)
{
    Real here = x(0), bonds = 0, outflow = 0;
#pragma unroll
    for (int d = 1; d < 7; ++d) {
        Real bond = level.bond(at, d);
        bonds += bond;
        outflow += bond * (here - x(d));
    }
    return {bonds, outflow};
}

// D^-1 (r - A x) at a site.
template <class Level>
__device__ __forceinline__ float correction(
    const Level& level, const Stencil& at, const Flow<float>& f)
{
    bool open = level.own(at) > 0.0f && f.bonds > 0.0f;
    return open ? level.s[at.site[0]] - f.outflow / f.bonds : 0.0f;
}

// x = two Chebyshev steps from zero.
template <class Over, class Level>
__device__ __forceinline__ void pre_smooth(Over over, Level level)
{
    over.each(level.n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, level.n);
        auto x = [&](int d) { return FIRST * level.s[at.site[d]]; };
        Flow<float> f = flow<float>(level, at, x);
        float here = x(0);
        level.x[at.site[0]] = here + SECOND * correction(level, at, f) + MOMENTUM * here;
    });
}

// Right-hand side of the level below: the residual of x, summed over each aggregate.
template <class Over, class Level, class Below>
__device__ __forceinline__ void restrict_residual(Over over, Level level, Below below)
{
    int n = level.n;
    over.each(below.n, [&](int big_i, int big_j, int big_k) {
        float sum = 0.0f;
        for (int i = 2 * big_i; i < min(2 * big_i + 2, n); ++i)
            for (int j = 2 * big_j; j < min(2 * big_j + 2, n); ++j)
                for (int k = 2 * big_k; k < min(2 * big_k + 2, n); ++k) {
                    Stencil at = stencil(i, j, k, n);
                    auto x = [&](int d) { return level.x[at.site[d]]; };
                    Flow<float> f = flow<float>(level, at, x);
                    sum += level.own(at) * (f.bonds * level.s[at.site[0]] - f.outflow);
                }
        Stencil at = stencil(big_i, big_j, big_k, below.n);
        float diagonal = flow<float>(below, at, [](int) { return 0.0f; }).bonds;
        below.s[at.site[0]] = diagonal > 0.0f ? sum / diagonal : 0.0f;
    });
}

// y = the first Chebyshev step from x + the correction c of the level below.
template <class Over, class Level, class Below>
__device__ __forceinline__ void post_smooth_1(Over over, Level level, Below below)
{
    over.each(level.n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, level.n);
        Stencil up = aggregates(i, j, k, level.n, below.n);
        auto x = [&](int d) { return level.x[at.site[d]] + below.c[up.site[d]]; };
        Flow<float> f = flow<float>(level, at, x);
        level.y[at.site[0]] = x(0) + FIRST * correction(level, at, f);
    });
}

// The second step, from y: handed to `put` with its site and the flow of y there.
template <class Over, class Level, class Below, class Put>
__device__ __forceinline__ void post_smooth_2(Over over, Level level, Below below, Put put)
{
    over.each(level.n, [&](int i, int j, int k) {
        Stencil at = stencil(i, j, k, level.n);
        auto y = [&](int d) { return level.y[at.site[d]]; };
        Flow<float> f = flow<float>(level, at, y);
        int up = (i / 2 * below.n + j / 2) * below.n + k / 2;
        float here = y(0), before = level.x[at.site[0]] + below.c[up];
        put(at, f, here + SECOND * correction(level, at, f) + MOMENTUM * (here - before));
    });
}
