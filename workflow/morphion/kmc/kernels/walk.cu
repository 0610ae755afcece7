// The walk: rejection-free kinetic Monte Carlo, one walker a thread. The same positions, hop
// counts and times as morphion/kmc/engine_cpu.py, bit for bit: its text says how random words are
// used. Follows philox.cu, elementary.cu and palette.cu.

struct Job {
    double interval;            // between samples
    long long first_row;        // of the walkers' states
    long long first_sample;     // of the walkers' displacements
    unsigned long long codes;   // address of the structure's codes
    unsigned long long velocity;  // address of its control's velocity, [n^3][3]; 0 without one
    unsigned key_0, key_1;
    unsigned first_walker;
    int walkers;
    int samples;
    int structure;              // row of the palettes
};

// What a walker carries from launch to launch.
struct State {
    double left;                // time to the next sample
    unsigned long long count;   // Philox blocks drawn; hops made, once it has ended
    double total[3];            // integral of the control's velocity
    int x, y, z;                // site
    int moved[3];               // unwrapped, in sites
    int sample;                 // samples taken
    int unused;
};

// The six neighbours of a site.
struct Surroundings {
    unsigned long long codes;   // a byte each
    unsigned below[6];          // running sums of their b
};

__device__ __forceinline__ void meet(Surroundings& found, int direction, unsigned code, unsigned sum)
{
    found.codes |= (unsigned long long)code << (8 * direction);
    found.below[direction] = sum;
}

__device__ __forceinline__ Surroundings look_around(
    const unsigned char* codes, const unsigned* b, const Bricks& bricks, int x, int y, int z)
{
    unsigned at_x = bricks.x(x), at_y = bricks.y(y), at_z = bricks.z(z);
    unsigned c0 = __ldg(codes + (bricks.x(bricks.up(x)) + at_y + at_z));
    unsigned c1 = __ldg(codes + (bricks.x(bricks.down(x)) + at_y + at_z));
    unsigned c2 = __ldg(codes + (at_x + bricks.y(bricks.up(y)) + at_z));
    unsigned c3 = __ldg(codes + (at_x + bricks.y(bricks.down(y)) + at_z));
    unsigned c4 = __ldg(codes + (at_x + at_y + bricks.z(bricks.up(z))));
    unsigned c5 = __ldg(codes + (at_x + at_y + bricks.z(bricks.down(z))));
    Surroundings found;
    found.codes = 0;
    unsigned sum = 0;
    meet(found, 0, c0, sum += b[c0]);
    meet(found, 1, c1, sum += b[c1]);
    meet(found, 2, c2, sum += b[c2]);
    meet(found, 3, c3, sum += b[c3]);
    meet(found, 4, c4, sum += b[c4]);
    meet(found, 5, c5, sum += b[c5]);
    return found;
}

__device__ __forceinline__ int wrapped(int i, int n)
{
    return i < 0 ? n - 1 : (i < n ? i : 0);
}

// Start sites drawn from the equilibrium weight, and states at time 0; a walker that starts on an
// isolated site has ended.
extern "C" __global__ void __launch_bounds__(128) start(
    const Job* __restrict__ jobs, const int* __restrict__ block_job,
    const int* __restrict__ block_first, const unsigned* __restrict__ palette_b,
    const float* __restrict__ palette_weight, const double* __restrict__ row_cumulative, int n,
    State* states, int* displacements)
{
    const Bricks bricks(n);
    const Job job = jobs[block_job[blockIdx.x]];
    int walker = block_first[blockIdx.x] + threadIdx.x;
    if (walker >= job.walkers) return;
    const unsigned char* codes = (const unsigned char*)job.codes;
    const unsigned* b = palette_b + 256 * job.structure;
    const float* weight = palette_weight + 256 * job.structure;
    const double* cumulative = row_cumulative + (long long)n * n * job.structure;

    Words words = philox4x32(0, job.first_walker + walker, 0, 1, job.key_0, job.key_1);
    double target = unit_interval(words.w0, words.w1) * cumulative[n * n - 1];
    int low = 0, high = n * n;  // the first row whose running sum exceeds the target
    while (low < high) {
        int middle = (low + high) / 2;
        if (cumulative[middle] <= target) low = middle + 1;
        else high = middle;
    }
    int row = low < n * n - 1 ? low : n * n - 1;
    double remaining = target - (row > 0 ? cumulative[row - 1] : 0.0);
    int x = row / n, y = row % n, chosen = 0;
    for (int z = 0; z < n; ++z) {
        int code = codes[bricks.x(x) + bricks.y(y) + bricks.z(z)];
        if (code == 0) continue;
        chosen = z;
        remaining -= (double)weight[code];
        if (remaining < 0) break;
    }
    State state = {job.interval, 0, {0.0, 0.0, 0.0}, x, y, chosen, {0, 0, 0}, 0, 0};
    if (look_around(codes, b, bricks, x, y, chosen).below[5] == 0) {
        state.sample = job.samples;
        int* out = displacements + 3 * (job.first_sample + (long long)walker * job.samples);
        for (int i = 0; i < 3 * job.samples; ++i) out[i] = 0;
    }
    states[job.first_row + walker] = state;
}

// At most 2 rounds hops of every walker. progress[0] counts the walkers that have not ended,
// progress[1] the samples taken by all. CONTROLLED: the control's velocity is integrated along.
template <bool CONTROLLED>
__device__ __forceinline__ void advance(
    const Job* __restrict__ jobs, const int* __restrict__ block_job,
    const int* __restrict__ block_first, const unsigned* __restrict__ palette_b,
    const float* __restrict__ palette_residence, int n, State* states, int* displacements,
    int* integrals, int rounds, unsigned long long* progress)
{
    __shared__ unsigned b[256];
    __shared__ float residence[256];
    const Bricks bricks(n);
    const Job job = jobs[block_job[blockIdx.x]];
    for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) {
        b[i] = palette_b[256 * job.structure + i];
        residence[i] = palette_residence[256 * job.structure + i];
    }
    __syncthreads();
    int walker = block_first[blockIdx.x] + threadIdx.x;
    if (walker >= job.walkers) return;
    State state = states[job.first_row + walker];
    if (state.sample == job.samples) {
        atomicAdd(&progress[1], (unsigned long long)job.samples);
        return;
    }
    const unsigned char* __restrict__ codes = (const unsigned char*)job.codes;
    const float* __restrict__ velocity = (const float*)job.velocity;
    long long first = 3 * (job.first_sample + (long long)walker * job.samples);
    int* out = displacements + first;
    int x = state.x, y = state.y, z = state.z;
    int own = codes[bricks.x(x) + bricks.y(y) + bricks.z(z)];

    for (int round = 0; round < rounds; ++round) {
        Words words = philox4x32((unsigned)state.count, job.first_walker + walker,
            (unsigned)(state.count >> 32), 0, job.key_0, job.key_1);
        ++state.count;
        for (int h = 0; h < 2; ++h) {
            Surroundings around = look_around(codes, b, bricks, x, y, z);
            unsigned total = around.below[5];
            float mean_time = residence[own] / (float)total;
            double stay = exponential(h ? words.w3 : words.w1) * (double)mean_time;
            state.left -= stay;
            double speed[3];
            if (CONTROLLED) {
                long long site = 3 * (((long long)x * n + y) * n + z);
                for (int axis = 0; axis < 3; ++axis) {
                    speed[axis] = __ldg(velocity + (site + axis));
                    state.total[axis] += speed[axis] * stay;
                }
            }
            while (state.left < 0 && state.sample < job.samples) {
                for (int axis = 0; axis < 3; ++axis) {
                    out[3 * state.sample + axis] = state.moved[axis];
                    if (!CONTROLLED) continue;
                    // The residence ends -left after the sample.
                    double until = state.total[axis] + speed[axis] * state.left;
                    integrals[first + 3 * state.sample + axis] = (int)floor(until * 4096.0 + 0.5);
                }
                ++state.sample;
                state.left += job.interval;
            }
            if (state.sample == job.samples) {
                state.count = 2 * (state.count - 1) + h;
                states[job.first_row + walker] = state;
                atomicAdd(&progress[1], (unsigned long long)job.samples);
                return;
            }
            unsigned long long product = (unsigned long long)((h ? words.w2 : words.w0) >> 1) * total;
            unsigned chosen = (unsigned)(product >> 31);
            int direction = (chosen >= around.below[0]) + (chosen >= around.below[1])
                + (chosen >= around.below[2]) + (chosen >= around.below[3])
                + (chosen >= around.below[4]);
            own = (int)(around.codes >> (8 * direction)) & 255;
            int sign = direction & 1 ? -1 : 1;
            int step_x = direction < 2 ? sign : 0;
            int step_y = direction >> 1 == 1 ? sign : 0;
            int step_z = direction >= 4 ? sign : 0;
            state.moved[0] += step_x;
            state.moved[1] += step_y;
            state.moved[2] += step_z;
            x = wrapped(x + step_x, n);
            y = wrapped(y + step_y, n);
            z = wrapped(z + step_z, n);
        }
    }
    state.x = x;
    state.y = y;
    state.z = z;
    states[job.first_row + walker] = state;
    atomicAdd(&progress[0], 1ULL);
    atomicAdd(&progress[1], (unsigned long long)state.sample);
}

extern "C" __global__ void __launch_bounds__(128) walk(
    const Job* __restrict__ jobs, const int* __restrict__ block_job,
    const int* __restrict__ block_first, const unsigned* __restrict__ palette_b,
    const float* __restrict__ palette_residence, int n, State* states, int* displacements,
    int rounds, unsigned long long* progress)
{
    advance<false>(jobs, block_job, block_first, palette_b, palette_residence, n, states,
        displacements, nullptr, rounds, progress);
}

// integrals [sample][3], laid out as displacements, in units of h / 4096; zero at first, as walkers
// that have ended at the start leave theirs alone.
extern "C" __global__ void __launch_bounds__(128) walk_controlled(
    const Job* __restrict__ jobs, const int* __restrict__ block_job,
    const int* __restrict__ block_first, const unsigned* __restrict__ palette_b,
    const float* __restrict__ palette_residence, int n, State* states, int* displacements,
    int* integrals, int rounds, unsigned long long* progress)
{
    advance<true>(jobs, block_job, block_first, palette_b, palette_residence, n, states,
        displacements, integrals, rounds, progress);
}

// products [row][32][6]: displacement products over 1 ... 32 sampling intervals, averaged over all
// time origins; the 32 lags of four walkers a block. As morphion/kmc/curves.py.
extern "C" __global__ void __launch_bounds__(128) products(
    const Job* __restrict__ jobs, const int* __restrict__ block_job,
    const int* __restrict__ block_first, const int* __restrict__ displacements, double* products)
{
    const Job job = jobs[block_job[blockIdx.x]];
    int walker = block_first[blockIdx.x] + threadIdx.x / 32;
    if (walker >= job.walkers) return;
    int lag = threadIdx.x % 32 + 1;
    const int* path = displacements + 3 * (job.first_sample + (long long)walker * job.samples);
    long long xx = 0, yy = 0, zz = 0, xy = 0, xz = 0, yz = 0;
    int origins = job.samples + 1 - lag;
    for (int t = 0; t < origins; ++t) {
        const int* later = path + 3 * (t + lag - 1);
        long long x = later[0], y = later[1], z = later[2];
        if (t > 0) {
            x -= path[3 * t - 3];
            y -= path[3 * t - 2];
            z -= path[3 * t - 1];
        }
        xx += x * x;
        yy += y * y;
        zz += z * z;
        xy += x * y;
        xz += x * z;
        yz += y * z;
    }
    double* out = products + ((job.first_row + walker) * 32 + lag - 1) * 6;
    out[0] = (double)xx / (double)origins;
    out[1] = (double)yy / (double)origins;
    out[2] = (double)zz / (double)origins;
    out[3] = (double)xy / (double)origins;
    out[4] = (double)xz / (double)origins;
    out[5] = (double)yz / (double)origins;
}
