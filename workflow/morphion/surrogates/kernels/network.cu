// What the kernels of the resistor network share: its weights, the memory they work in, sums over
// the threads of a block. Lengths are in sphere diameters.

// Weights and numbers of a network, as _network in resistor_gpu.py; members of 8 bytes each.
struct Network {
    // As Weights in resistor_weights.py: matrices [inputs, outputs].
    const float *centres, *to_particle, *ends_mean, *ends_scale, *facet_mean, *facet_scale;
    const float *far_hidden, *far_hidden_bias, *far, *beside, *pair, *conductance;
    const float *around_mean, *around_scale, *occupancy_hidden, *occupancy_hidden_bias, *occupancy;
    const float *to_wedge, *angle, *seen_mean, *seen_scale, *hidden_known, *hidden_seen;
    const float *hidden_bias, *out, *out_bias, *from_pair;
    // As Constants there.
    double near, far_bias, beside_bias, conductance_bias, occupancy_bias, decay, shells_end;
    double small_facet, ground, conductivity, cutoff;
    // Outputs of far_hidden; rows of to_wedge and hidden_known in each round.
    long long radial, channels, neurons, far_neurons, rounds, known_rows;
};

// Two particles that meet, counted through the batch, first < second; x_first - x_second. Of their
// facet the area within reach, and that beyond over their distance.
struct Pair {
    int first, second;
    float separation[3], facet, beside;
};

// Unit vector from the second to the first particle of a pair, and their distance.
struct Along {
    double direction[3], distance;
};

// Memory for a batch of structures, as _Room in resistor_gpu.py; members of 8 bytes each. The pairs
// of a batch stand one after the other, those of structure b from start[b] on; their number is
// known to the device alone.
struct Room {
    double* around_one;   // of each block of find_pairs, doubles_around_one(N)
    Pair* of_particle;    // [B N, N] pairs of each particle with those behind it
    long long* count;     // [B N] how many these are + 2^32 times how many of them are near
    int* start;           // [B + 1]
    int* total;           // [2] pairs, near pairs
    Pair* pairs;          // [P]
    Along* along;         // [P]
    int* near;            // [P] the near ones among the pairs
    int *met, *near_met;  // [B N, N] pairs that a particle belongs to, and near ones
    int *degree, *near_degree;    // [B N] how many these are
    float *message;               // [P, C] from a pair to its ends
    float *sources, *sources_2;   // [P, C] from a pair to wedges, of even and of odd rounds
    float *known;                 // [P, neurons] what near pairs know between two rounds
    float *around;                // [rounds + 1, B N, C] what particles see
    double *conductance;          // [P]; after the solution, power in the three fields together
    double *solvent;              // [P] conductances of what is beside pairs
    double *occupancy;            // [B N]
    float *seen;                  // [B N, neurons] what the layer `occupancy` takes in
    double *matrices;             // [blocks of kirchhoff, doubles_of_equations(N)]
    long long particles;
};

// Doubles that Kirchhoff's equations take: the upper triangle, and three right-hand sides.
__device__ __forceinline__ size_t doubles_of_equations(int particles)
{
    return (size_t)particles * (particles + 7) / 2;
}

// Sum of a value over the threads before this one, of at most 256; `total` is that over all.
__device__ long long sum_before(long long value, long long& total)
{
    __shared__ long long sums[256];
    __syncthreads();  // the sums before this one may still be read
    sums[threadIdx.x] = value;
    __syncthreads();
    for (unsigned distance = 1; distance < blockDim.x; distance *= 2) {
        long long below = threadIdx.x >= distance ? sums[threadIdx.x - distance] : 0;
        __syncthreads();
        sums[threadIdx.x] += below;
        __syncthreads();
    }
    total = sums[blockDim.x - 1];
    return sums[threadIdx.x] - value;
}
