// Kirchhoff's laws: a block takes the equations of a structure. Follows network.cu and pairs.cu.

constexpr int SOLVERS = 512;  // threads of a block
// Doubles of shared memory, as _SHARED in resistor_gpu.py: the equations of 106 particles.
constexpr int SHARED = 6000;
constexpr int SUMS = 7;  // elements of K_ab and the occupancy
// Equations in shared memory are solved in registers: warp g has rows g, g + WARPS ..., HIGH of
// them, and each of its threads every 32nd of their entries.
constexpr int WARPS = SOLVERS / 32, HIGH = 7, WIDE = 4;

// The upper triangle of a symmetric matrix [N, N], and beside it the right-hand sides.
struct Equations {
    double* values;
    int order;

    __device__ __forceinline__ double* row(int i) const  // of which entry i is the first
    {
        return values + (size_t)i * (order + 3) - (size_t)i * (i + 1) / 2;
    }
};

// Shared memory, known as such to the compiler wherever it is asked for.
__device__ __forceinline__ double* in_shared()
{
    __shared__ double values[SHARED];
    return values;
}

// Conductance of a pair, with the solvent beside it.
__device__ __forceinline__ double through(const Room* room, int e)
{
    return room->conductance[e] + room->solvent[e];
}

// Currents into each particle, per unit of its potential and by the unit fields along the axes.
__device__ __forceinline__ void fill_diagonal(Equations all, const Room* room, int before)
{
    for (int i = threadIdx.x; i < all.order; i += SOLVERS) {
        const size_t particle = before + i;
        const int* list = room->met + particle * room->particles;
        double diagonal = 0.0, load[3] = {0.0, 0.0, 0.0};
        for (int n = 0; n < room->degree[particle]; ++n) {
            const Pair pair = room->pairs[list[n]];
            const double g = through(room, list[n]);
            const double signed_g = pair.first == particle ? -g : g;
            diagonal += g;
            for (int axis = 0; axis < 3; ++axis) load[axis] += signed_g * pair.separation[axis];
        }
        double* row = all.row(i);
        row[i] = diagonal;
        for (int axis = 0; axis < 3; ++axis) row[all.order + axis] = load[axis];
    }
}

// Sums over the threads of a block, known to thread 0 alone; `shared` has room for all.
__device__ __forceinline__ void sum_up(double* sums, int count, double* shared)
{
    const int t = threadIdx.x;
    __syncthreads();
    for (int n = 0; n < count; ++n) shared[n * SOLVERS + t] = sums[n];
    for (int half = SOLVERS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half)
            for (int n = 0; n < count; ++n)
                shared[n * SOLVERS + t] += shared[n * SOLVERS + t + half];
    }
    if (t == 0)
        for (int n = 0; n < count; ++n) sums[n] = shared[n * SOLVERS];
}

// Mean of the diagonal, which scales what fixes the potentials that Kirchhoff leaves free.
__device__ __forceinline__ double mean_of_diagonal(Equations all)
{
    __shared__ double parts[32], mean;
    __syncthreads();
    if (threadIdx.x < 32) {
        double part = 0.0;
        for (int i = threadIdx.x; i < all.order; i += 32) part += all.row(i)[i];
        parts[threadIdx.x] = part;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        mean = 0.0;
        for (int t = 0; t < 32; ++t) mean += parts[t];
        mean /= all.order;
        if (mean < 1e-30) mean = 1e-30;  // no two particles meet
    }
    __syncthreads();
    return mean;
}

__device__ __forceinline__ void assemble(
    Equations all, const Network* network, const Room* room, int b)
{
    const int order = all.order, before = b * order;
    fill_diagonal(all, room, before);
    const double mean = mean_of_diagonal(all), everywhere = mean / order;
    const int lane = threadIdx.x % 32, group = threadIdx.x / 32;
    for (int i = group; i < order; i += SOLVERS / 32) {
        double* row = all.row(i);
        if (lane == 0) row[i] = row[i] + network->ground * mean + everywhere;
        for (int j = i + 1 + lane; j < order; j += 32) row[j] = everywhere;
    }
    __syncthreads();
    for (int e = room->start[b] + threadIdx.x; e < room->start[b + 1]; e += SOLVERS) {
        const Pair pair = room->pairs[e];
        all.row(pair.first - before)[pair.second - before] -= through(room, e);
    }
    __syncthreads();
}

// Subtract from the rows below `k` what makes their column k vanish. A thread reads its entries of
// several rows before it writes one, so that it waits for memory once.
__device__ __forceinline__ void eliminate_below(Equations all, int k)
{
    constexpr int rows = 6;
    const int lane = threadIdx.x % 32, group = threadIdx.x / 32;
    const double* above = all.row(k);
    const double inverse = 1 / above[k];
    for (int j = k + 1 + lane; j < all.order + 3; j += 32) {
        const double right = above[j] * inverse;
        const int last = min(j, all.order - 1);
        for (int begin = k + 1 + group; begin <= last; begin += rows * WARPS) {
            double entry[rows];
#pragma unroll
            for (int n = 0; n < rows; ++n) {
                const int i = begin + n * WARPS;
                if (i <= last) entry[n] = fma(-above[i], right, all.row(i)[j]);
            }
#pragma unroll
            for (int n = 0; n < rows; ++n) {
                const int i = begin + n * WARPS;
                if (i <= last) all.row(i)[j] = entry[n];
            }
        }
    }
}

// Whether the matrix is positive; then its triangle is what elimination leaves.
__device__ bool eliminate_in_memory(Equations all)
{
    for (int k = 0; k < all.order; ++k) {
        if (!(all.row(k)[k] > 0)) return false;
        eliminate_below(all, k);
        __syncthreads();
    }
    return true;
}

// The same for few particles, of equations in shared memory. A row is written back once, when nothing
// more changes it, and read by all then. Not inlined: what is around it would leave it too few
// registers.
__device__ __noinline__ bool eliminate_in_registers(int order)
{
    const int lane = threadIdx.x % 32, group = threadIdx.x / 32, width = order + 3;
    const Equations all = {in_shared(), order};
    double entry[HIGH][WIDE];
#pragma unroll
    for (int a = 0; a < HIGH; ++a) {
        const int i = group + a * WARPS;
#pragma unroll
        for (int b = 0; b < WIDE; ++b) {
            const int j = lane + 32 * b;
            entry[a][b] = i < order && i <= j && j < width ? all.row(i)[j] : 0.0;
        }
    }
    double* above = all.values;  // row k, from where entry 0 would be
#pragma unroll
    for (int ready = 0; ready < HIGH; ++ready) {  // in each warp's registers, the row to write back
        for (int k = ready * WARPS; k < min((ready + 1) * WARPS, order); above += order + 2 - k++) {
            if (k % WARPS == group) {
#pragma unroll
                for (int b = 0; b < WIDE; ++b) {
                    const int j = lane + 32 * b;
                    if (j >= k && j < width) above[j] = entry[ready][b];
                }
            }
            __syncthreads();
            if (!(above[k] > 0)) return false;
            const double inverse = 1 / above[k];
            double right[WIDE];
#pragma unroll
            for (int b = 0; b < WIDE; ++b) {
                const int j = lane + 32 * b;
                right[b] = j > k && j < width ? above[j] * inverse : 0.0;
            }
#pragma unroll
            for (int a = ready; a < HIGH; ++a) {
                const int i = group + a * WARPS;
                if (i <= k || i >= order) continue;
                const double left = above[i];
#pragma unroll
                for (int b = 0; b < WIDE; ++b)  // but for those before the diagonal in all rows
                    if (32 * b + 31 >= a * WARPS) entry[a][b] = fma(-left, right[b], entry[a][b]);
            }
        }
    }
    __syncthreads();
    return true;
}

// What elimination left, solved: solutions take the place of the right-hand sides.
__device__ __forceinline__ void substitute(Equations all)
{
    const int order = all.order;
    for (int i = threadIdx.x; i < order; i += SOLVERS) all.row(i)[i] = 1 / all.row(i)[i];
    __syncthreads();
    for (int k = order - 1; k >= 0; --k) {
        const double* solved = all.row(k);  // but for the pivot, that other threads can read it
        for (int at = threadIdx.x; at < 3 * k; at += SOLVERS) {
            double* row = all.row(at / 3);
            row[order + at % 3] -= row[k] * (solved[order + at % 3] * solved[k]);
        }
        __syncthreads();
    }
    for (int at = threadIdx.x; at < 3 * order; at += SOLVERS) {
        double* row = all.row(at / 3);
        row[order + at % 3] *= row[at / 3];
    }
    __syncthreads();
}

// False if the matrix is not positive.
__device__ __forceinline__ bool solve(Equations all)
{
    if (doubles_of_equations(all.order) > SHARED) {
        if (!eliminate_in_memory(all)) return false;
        substitute(all);
        return true;
    }
    if (!eliminate_in_registers(all.order)) return false;
    substitute({in_shared(), all.order});
    return true;
}

// Add what pairs dissipate in unit fields beyond what solvent would in their place to a thread's
// sums: xx, xy, xz, yy, yz, zz. The power of each pair in all of them takes the place of its
// conductance.
__device__ __forceinline__ void dissipate(
    Equations all, const Network* network, const Room* room, int b, double* sums)
{
    const int before = b * all.order;
    for (int e = room->start[b] + threadIdx.x; e < room->start[b + 1]; e += SOLVERS) {
        const Pair pair = room->pairs[e];
        const double g = room->conductance[e];
        const double both = g + room->solvent[e];
        const double of_solvent =
            network->conductivity * (pair.facet / room->along[e].distance + pair.beside);
        double power = 0.0;
        const double* first = all.row(pair.first - before) + all.order;
        const double* second = all.row(pair.second - before) + all.order;
        double field[3];
        for (int axis = 0; axis < 3; ++axis)
            field[axis] = pair.separation[axis] + (first[axis] - second[axis]);
        int at = 0;
        for (int x = 0; x < 3; ++x) {
            for (int y = x; y < 3; ++y) {
                const double beyond = of_solvent * pair.separation[x] * pair.separation[y];
                sums[at++] += both * field[x] * field[y] - beyond;
            }
            power += g * field[x] * field[x];
        }
        room->conductance[e] = power;
    }
}

// A part of the sum over the pairs of a structure of their power times a Gaussian of their distance.
__device__ __forceinline__ double of_pairs(
    const Network* network, const Room* room, int b, int column, int part, int parts)
{
    const int last = (int)network->radial - 1;
    const double first = network->centres[0], centre = network->centres[column];
    const double by_width = last / (network->centres[last] - first);
    double sum = 0.0;
#pragma unroll 4
    for (int e = room->start[b] + part; e < room->start[b + 1]; e += parts) {
        const float away = (float)((room->along[e].distance - centre) * by_width);
        sum += room->conductance[e] * expf(-0.5f * away * away);
    }
    return sum;
}

// A part of the sum over its particles of the derivatives of their occupancy by a weight of its
// layer, or, last, by its bias.
__device__ __forceinline__ double of_particles(
    const Network* network, const Room* room, int b, int column, int part, int parts)
{
    const int particles = (int)room->particles, begin = b * particles;
    double sum = 0.0;
#pragma unroll 4
    for (int i = begin + part; i < begin + particles; i += parts)
        sum += min(room->occupancy[i], 1.0)
            * (column < network->neurons ? room->seen[(size_t)i * network->neurons + column] : 1.0f);
    return sum;
}

// All of these sums, of the pairs only if these are sound: as many threads to each as there are.
// `shared` has room for the block.
__device__ __forceinline__ void weigh(
    const Network* network, const Room* room, int b, bool sound, double* shared, double* out)
{
    const int t = threadIdx.x;
    for (int pairs = 1; pairs >= 0; --pairs) {
        const int columns = (int)(pairs ? network->radial : network->neurons + 1);
        const int width = min(columns, SOLVERS), parts = SOLVERS / width, part = t / width;
        for (int begin = 0; begin < columns; begin += width) {
            const int column = begin + t % width;
            double sum = 0.0;
            if (column < columns && part < parts) {
                if (!pairs) sum = of_particles(network, room, b, column, part, parts);
                else if (sound) sum = of_pairs(network, room, b, column, part, parts);
            }
            __syncthreads();
            shared[t] = sum;
            __syncthreads();
            if (t >= width || column >= columns) continue;
            for (int other = 1; other < parts; ++other) sum += shared[other * width + t];
            out[column] = sum;
        }
        out += columns;
    }
}

// Sums over each structure, as Sums in resistor_weights.py: power, the occupancies, pairs and
// particles, from found[done] on; the power is nan if its conductances are not sound.
extern "C" __global__ void __launch_bounds__(512) kirchhoff(
    const Network* network, const Room* room, int structures, double* found, int done)
{
    double* shared = in_shared();
    const int particles = (int)room->particles;
    const size_t size = doubles_of_equations(particles);
    const Equations all = {size <= SHARED ? shared : room->matrices + blockIdx.x * size, particles};
    for (int b = blockIdx.x; b < structures; b += gridDim.x) {
        double* out = found + (11 + network->radial + network->neurons) * (size_t)(done + b);
        assemble(all, network, room, b);
        const bool sound = solve(all);
        double sums[SUMS] = {0, 0, 0, 0, 0, 0, 0};
        if (sound) dissipate(all, network, room, b, sums);
        for (int i = threadIdx.x; i < particles; i += SOLVERS)
            sums[SUMS - 1] += room->occupancy[(size_t)b * particles + i];
        sum_up(sums, SUMS, shared);
        if (threadIdx.x == 0) {
            const int element[9] = {0, 1, 2, 1, 3, 4, 2, 4, 5};
            for (int n = 0; n < 9; ++n) out[n] = sound ? sums[element[n]] : nan("");
            out[9] = sums[SUMS - 1];
        }
        weigh(network, room, b, sound, shared, out + 10);
        __syncthreads();
    }
}
