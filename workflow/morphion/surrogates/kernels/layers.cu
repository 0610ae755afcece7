// Dense layers on a few rows at a time. A thread takes an output of all rows, so that a weight is
// read once for them, by neighbouring threads together; the rows' inputs lie in shared memory.
// Sums run in the order of inputs, whatever else is in the batch. Follows pairs.cu.

constexpr int ROWS = 4;
constexpr int THREADS = 64;
constexpr int WIDTH = 384;  // inputs of a layer at most, as _WIDTH in resistor_gpu.py
constexpr int TAIL = 6;     // as _TAIL in resistor_cpu.py

// A value of each row; one read takes all.
struct alignas(4 * ROWS) Rows {
    float of[ROWS];
};

__device__ __forceinline__ Rows all_rows(float value)
{
    Rows rows;
    for (int r = 0; r < ROWS; ++r) rows.of[r] = value;
    return rows;
}

// sum += an output of a layer, of matrix [inputs, outputs].
__device__ __forceinline__ void multiply(
    const Rows* values, int inputs, const float* __restrict__ matrix, int outputs, int output,
    Rows& sum)
{
#pragma unroll 8
    for (int i = 0; i < inputs; ++i) {
        const float weight = matrix[(size_t)i * outputs + output];
        const Rows value = values[i];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sum.of[r] = fmaf(value.of[r], weight, sum.of[r]);
    }
}

__device__ __forceinline__ void silu(Rows& rows)
{
#pragma unroll
    for (int r = 0; r < ROWS; ++r) rows.of[r] /= 1.0f + expf(-rows.of[r]);
}

// values @ vector [inputs] of row r, which thread r knows; others know nothing.
__device__ float project(const Rows* values, int inputs, const float* __restrict__ vector)
{
    __shared__ float parts[THREADS];
    const int r = threadIdx.x % ROWS;
    float sum = 0.0f;
    for (int i = threadIdx.x / ROWS; i < inputs; i += THREADS / ROWS)
        sum = fmaf(values[i].of[r], vector[i], sum);
    __syncthreads();  // parts of the sums before may still be read
    parts[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x < ROWS)
        for (int t = threadIdx.x + ROWS; t < THREADS; t += ROWS) sum += parts[t];
    return sum;
}

// The pairs that a block works on; those beyond the last one are the last one again.
struct Tile {
    int rows;  // without these
    int pair[ROWS], first[ROWS], second[ROWS];
    double direction[ROWS][3], distance[ROWS];
    float facet[ROWS], nearness[ROWS];  // how much of a near pair counts: falls to 0 at the cutoff
};

// Load pairs from number `begin` of `total` on, numbered through `list` if there is one.
__device__ __forceinline__ void load(
    Tile& tile, const Room* room, double near, const int* list, int begin, int total)
{
    __syncthreads();  // the tile before may still be read
    const int r = threadIdx.x;
    if (r == 0) tile.rows = min(ROWS, total - begin);
    if (r < ROWS) {
        const int number = min(begin + r, total - 1), e = list ? list[number] : number;
        const Pair pair = room->pairs[e];
        const Along along = room->along[e];
        tile.pair[r] = e, tile.first[r] = pair.first, tile.second[r] = pair.second;
        for (int axis = 0; axis < 3; ++axis) tile.direction[r][axis] = along.direction[axis];
        tile.distance[r] = along.distance;
        tile.facet[r] = pair.facet;
        const double angle = 3.141592653589793 * along.distance / near;
        tile.nearness[r] = along.distance < near ? (float)(0.5 * (1 + cos(angle))) : 0.0f;
    }
    __syncthreads();
}

// Gaussians of the distances and the cubic harmonics of the directions, [radial + 2] each.
__device__ __forceinline__ void fill_features(const Tile& tile, const Network* network, Rows* out)
{
    const int radial = (int)network->radial;
    const double zero = network->centres[0];
    // From first to last: rounding of two neighbours would add up.
    const double width = (network->centres[radial - 1] - zero) / (radial - 1);
    for (int at = threadIdx.x; at < (radial + 2) * ROWS; at += THREADS) {
        const int r = at % ROWS, k = at / ROWS;
        if (k < radial) {
            const double share = (tile.distance[r] - zero) / width, away = share - k;
            const bool counts = fabs(k - rint(share)) <= TAIL;
            out[k].of[r] = counts ? (float)exp(-0.5 * away * away) : 0.0f;
            continue;
        }
        const double* along = tile.direction[r];
        const double x = along[0] * along[0], y = along[1] * along[1], z = along[2] * along[2];
        const double fourth = x * x + y * y + z * z - 3.0 / 5;
        const double sixth = 65 * (x * y * z - 1.0 / 105 + fourth / 22);
        out[k].of[r] = (float)(k == radial ? 2.5 * fourth : sixth);
    }
}

// Standardised sums and products of what both particles see, [2 C] each.
__device__ __forceinline__ void fill_ends(
    const Tile& tile, const float* around, int channels, const float* mean, const float* scale,
    Rows* out)
{
    for (int at = threadIdx.x; at < channels * ROWS; at += THREADS) {
        const int r = at / channels, c = at % channels, second = channels + c;
        const float a = around[(size_t)tile.first[r] * channels + c];
        const float b = around[(size_t)tile.second[r] * channels + c];
        out[c].of[r] = (a + b - mean[c]) / scale[c];
        out[second].of[r] = (a * b - mean[second]) / scale[second];
    }
}
