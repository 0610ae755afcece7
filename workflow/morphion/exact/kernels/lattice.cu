// What all kernels of the cell problem share: periodic neighbours, the ways threads go over a
// lattice, and sums in a fixed order. Sites of a lattice [n, n, n] are numbered (i n + j) n + k.

// A site and its six neighbours: below and above it along x, y and z.
struct Stencil {
    int site[7];
};

__device__ __forceinline__ Stencil stencil(int i, int j, int k, int n)
{
    int site = (i * n + j) * n + k;
    int wrap = n - 1;
    return {
        {site,
         site + (i > 0 ? -n : wrap * n) * n,
         site + (i < wrap ? n : -wrap * n) * n,
         site + (j > 0 ? -n : wrap * n),
         site + (j < wrap ? n : -wrap * n),
         site + (k > 0 ? -1 : wrap),
         site + (k < wrap ? 1 : -wrap)}};
}

// The neighbours above and below a site along an axis; without an index that varies, which would
// move a stencil from registers to memory.
__device__ __forceinline__ int next(const Stencil& at, int axis)
{
    return axis == 0 ? at.site[2] : axis == 1 ? at.site[4] : at.site[6];
}
__device__ __forceinline__ int last(const Stencil& at, int axis)
{
    return axis == 0 ? at.site[1] : axis == 1 ? at.site[3] : at.site[5];
}

// The aggregates, on a lattice [m, m, m], of a site and its six neighbours.
__device__ __forceinline__ Stencil aggregates(int i, int j, int k, int n, int m)
{
    int wrap = n - 1;
    int own_i = i / 2, own_j = j / 2, own_k = k / 2;
    int own = (own_i * m + own_j) * m + own_k;
    return {
        {own,
         own + ((i > 0 ? i - 1 : wrap) / 2 - own_i) * m * m,
         own + ((i < wrap ? i + 1 : 0) / 2 - own_i) * m * m,
         own + ((j > 0 ? j - 1 : wrap) / 2 - own_j) * m,
         own + ((j < wrap ? j + 1 : 0) / 2 - own_j) * m,
         own + ((k > 0 ? k - 1 : wrap) / 2 - own_k),
         own + ((k < wrap ? k + 1 : 0) / 2 - own_k)}};
}

// The whole grid: a block covers TILE_ROWS x TILE_WIDTH columns along x, `depth` sites of each, so
// that neighbours are found in the cache of its multiprocessor.
constexpr int TILE_WIDTH = 32, TILE_ROWS = 8;

struct Grid {
    int depth;

    template <class Work> __device__ __forceinline__ void each(int n, Work work) const
    {
        int wide = (n + TILE_WIDTH - 1) / TILE_WIDTH;
        int tiles = wide * ((n + TILE_ROWS - 1) / TILE_ROWS);
        int tile = (int)blockIdx.x % tiles;
        int j = tile / wide * TILE_ROWS + (int)threadIdx.x / TILE_WIDTH;
        int k = tile % wide * TILE_WIDTH + (int)threadIdx.x % TILE_WIDTH;
        if (j >= n || k >= n) return;
        int first = (int)blockIdx.x / tiles * depth;
        int last = first + depth < n ? first + depth : n;
        for (int i = first; i < last; ++i) work(i, j, k);
    }
};

// One block that goes over a small lattice alone.
struct Block {
    template <class Work> __device__ __forceinline__ void each(int n, Work work) const
    {
        for (int site = threadIdx.x; site < n * n * n; site += blockDim.x) {
            int row = site / n;
            work(row / n, row % n, site % n);
        }
    }
};

// Sum of a value over the threads of a block, at most 512 in whole warps; thread 0 knows it.
__device__ double block_sum(double value)
{
    __shared__ double values[512];
    int groups = blockDim.x / 32;
    __syncthreads();  // thread 0 may still read the sum before this one
    values[threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.x < groups) {
        for (int g = 1; g < 32; ++g) value += values[threadIdx.x + g * groups];
        values[threadIdx.x] = value;
    }
    __syncthreads();
    if (threadIdx.x == 0)
        for (int g = 1; g < groups; ++g) value += values[g];
    return value;
}

// Leave a block's sum in partial[which, block].
__device__ __forceinline__ void leave(double value, double* partial, int which)
{
    value = block_sum(value);
    if (threadIdx.x == 0) partial[which * gridDim.x + blockIdx.x] = value;
}

// Sum of what `blocks` blocks left in partial[which]; for one block, whose thread 0 knows it.
__device__ __forceinline__ double collected(const double* partial, int which, int blocks)
{
    double value = 0.0;
    for (int block = threadIdx.x; block < blocks; block += blockDim.x)
        value += partial[which * blocks + block];
    return block_sum(value);
}
