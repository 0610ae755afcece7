// The palette of a lattice on the device, as morphion/kmc/palette.py and tables.py make it.
// Codes lie in bricks of 4 x 4 x 2 sites, the 32 bytes that memory hands over at once: a hop and
// its six neighbours touch about three bricks. A lattice is padded to whole bricks.

struct Bricks {
    int n;          // sites along an edge
    unsigned row;   // bytes from a brick to the next along y
    unsigned plane; // and along x

    __device__ __forceinline__ explicit Bricks(int sites) : n(sites)
    {
        row = ((sites + 1) / 2) * 32u;
        plane = ((sites + 3) / 4) * row;
    }
    __device__ __forceinline__ unsigned x(int i) const { return (i >> 2) * plane + (i & 3) * 8; }
    __device__ __forceinline__ unsigned y(int j) const { return (j >> 2) * row + (j & 3) * 2; }
    __device__ __forceinline__ unsigned z(int k) const { return (k >> 1) * 32u + (k & 1); }
    __device__ __forceinline__ int up(int i) const { return i + 1 < n ? i + 1 : 0; }
    __device__ __forceinline__ int down(int i) const { return i > 0 ? i - 1 : n - 1; }
};

// range[0], range[1]: smallest and largest bits of the positive b.
extern "C" __global__ void bit_range(const float* __restrict__ b, long long sites, unsigned* range)
{
    __shared__ unsigned low, high;
    if (threadIdx.x == 0) {
        low = 0x7F800000u;
        high = 0;
    }
    __syncthreads();
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < sites; i += stride) {
        unsigned bits = __float_as_uint(b[i]);
        if (bits > 0) {
            atomicMin(&low, bits);
            atomicMax(&high, bits);
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicMin(&range[0], low);
        atomicMax(&range[1], high);
    }
}

// Codes of all sites, in bricks; sums [4][256]: sites, fixed-point b, pi in 2^-31 and in 2^-62.
extern "C" __global__ void encode(
    const float* __restrict__ b, const float* __restrict__ weight, int n, unsigned low,
    long long span, double scale, unsigned char* codes, unsigned long long* sums)
{
    __shared__ unsigned long long own[4 * 256];
    for (unsigned i = threadIdx.x; i < 4 * 256; i += blockDim.x) own[i] = 0;
    __syncthreads();
    const Bricks bricks(n);
    const long long sites = (long long)n * n * n;
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < sites; i += stride) {
        unsigned bits = __float_as_uint(b[i]);
        int code = bits == 0 ? 0 : 1 + (int)(((long long)bits - low) * 254 / span);
        int k = (int)(i % n);
        int j = (int)(i / n % n);
        int x = (int)(i / ((long long)n * n));
        codes[bricks.x(x) + bricks.y(j) + bricks.z(k)] = (unsigned char)code;
        double pi = (double)weight[i] * 2147483648.0;
        unsigned whole = (unsigned)pi;
        atomicAdd(&own[code], 1ULL);
        atomicAdd(&own[256 + code], (unsigned long long)((double)b[i] * scale + 0.5));
        atomicAdd(&own[512 + code], (unsigned long long)whole);
        atomicAdd(&own[768 + code], (unsigned long long)((pi - whole) * 2147483648.0));
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < 4 * 256; i += blockDim.x)
        if (own[i] > 0) atomicAdd(&sums[i], own[i]);
}

// rows [n^2][5]: sums along z of pi, of pi times hop rate, and of the bonds along x, y, z.
extern "C" __global__ void row_sums(
    const unsigned char* __restrict__ codes, const unsigned* __restrict__ palette_b,
    const float* __restrict__ weight, const float* __restrict__ residence, int n, double* rows)
{
    const Bricks bricks(n);
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= n * n) return;
    int x = row / n, y = row % n;
    unsigned here = bricks.x(x) + bricks.y(y);
    unsigned east = bricks.x(bricks.up(x)) + bricks.y(y);
    unsigned west = bricks.x(bricks.down(x)) + bricks.y(y);
    unsigned north = bricks.x(x) + bricks.y(bricks.up(y));
    unsigned south = bricks.x(x) + bricks.y(bricks.down(y));
    double sum_weight = 0, sum_rate = 0, bond_x = 0, bond_y = 0, bond_z = 0;
    for (int z = 0; z < n; ++z) {
        unsigned at = bricks.z(z);
        int code = codes[here + at];
        unsigned b0 = palette_b[codes[east + at]];
        unsigned b2 = palette_b[codes[north + at]];
        unsigned b4 = palette_b[codes[here + bricks.z(bricks.up(z))]];
        unsigned total = b0 + b2 + b4 + palette_b[codes[west + at]] + palette_b[codes[south + at]]
            + palette_b[codes[here + bricks.z(bricks.down(z))]];
        double own = (double)palette_b[code];
        double pi = (double)weight[code];
        bond_x += own * (double)b0;
        bond_y += own * (double)b2;
        bond_z += own * (double)b4;
        if (code > 0 && total > 0) {
            float mean_time = residence[code] / (float)total;
            sum_rate += pi / (double)mean_time;
        }
        sum_weight += pi;
    }
    double* out = rows + 5LL * row;
    out[0] = sum_weight;
    out[1] = sum_rate;
    out[2] = bond_x;
    out[3] = bond_y;
    out[4] = bond_z;
}
