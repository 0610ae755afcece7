// Which particles meet, and the lists of pairs. Follows facets.cu.

constexpr double LEAST = 1e-9;  // square diameters; a smaller facet is rounding
constexpr double FADES = 0.05;  // of the cutoff, as _FADES in facets.py
// Facets between spheres that do not overlap have a dozen corners at most; those of more, which
// nothing but overlapping particles can have, are cut in global memory, and left out if they have
// more than there is room for there.
constexpr int CORNERS = 24;

// Pair numbers are 31 bits: two counts in one number are summed at once.
__device__ __forceinline__ int low(long long counts) { return (int)(counts & 0xFFFFFFFFLL); }
__device__ __forceinline__ int high(long long counts) { return (int)(counts >> 32); }

// `facet` and `beside` of a pair, negative of none.
struct Shared {
    float facet, beside;
};

// What a block needs to find the pairs of one particle.
struct One {
    Around* measured;  // [N] all particles
    Around* around;    // [N] those closer than the cutoff, nearest first
    double* corners;   // [2, 2, N + 30]
    Shared* facet;     // [N] with particles behind it; -1: no pair
    int* order;        // [N] which particles are `around`
};

__device__ __forceinline__ size_t doubles_around_one(int particles)
{
    return 14 * (size_t)particles + 120;
}

__device__ __forceinline__ One memory_of_one(double* room, int particles)
{
    room += blockIdx.x * doubles_around_one(particles);
    Around* measured = (Around*)room;
    double* corners = room + 8 * particles;
    Shared* facet = (Shared*)(corners + 4 * (particles + 30));
    return {measured, measured + particles, corners, facet, (int*)(facet + particles)};
}

// Fill `measured` with minimum-image x_k - x_i.
__device__ __forceinline__ void measure(
    const double* centres, int particles, int i, double box, const One& one)
{
    for (int k = threadIdx.x; k < particles; k += blockDim.x) {
        double away[3], square = 0.0;
        for (int axis = 0; axis < 3; ++axis) {
            double d = centres[3 * k + axis] - centres[3 * i + axis];
            d -= box * rint(d / box);
            away[axis] = d;
            square += d * d;
        }
        one.measured[k] = {away[0], away[1], away[2], sqrt(square)};
        one.facet[k] = {-1.0f, -1.0f};
    }
}

// Fill `around` and `order`; each particle counts those before it. Returns how many there are.
__device__ __forceinline__ int sort_around(int particles, int i, double cutoff, const One& one)
{
    __shared__ int count;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    for (int k = threadIdx.x; k < particles; k += blockDim.x) {
        const Around own = one.measured[k];
        if (k == i || !(own.apart < cutoff)) continue;
        int rank = 0;
        for (int l = 0; l < particles; ++l) {
            double apart = one.measured[l].apart;
            rank += l != i && (apart < own.apart || (apart == own.apart && l < k));
        }
        one.around[rank] = own;
        one.order[rank] = k;
        atomicAdd(&count, 1);
    }
    __syncthreads();
    return count;
}

// Whether a facet or nearness makes a pair.
__device__ __forceinline__ Shared as_pair(
    const Facet& facet, double apart, const Network* network)
{
    if (facet.within + facet.beyond < LEAST && apart >= network->near) return {-1.0f, -1.0f};
    const double share = min((1 - apart / network->cutoff) / FADES, 1.0);
    return {(float)facet.within, (float)(facet.beyond / apart * share)};
}

// Fill `facet`: a thread for each particle around one.
__device__ void cut_facets(
    const Network* network, int particles, int i, double box, const One& one)
{
    __shared__ int too_many;
    const double reach = network->cutoff / 2;
    int count = sort_around(particles, i, network->cutoff, one);
    if (threadIdx.x == 0) too_many = 0;
    __syncthreads();
    double u[2 * CORNERS], v[2 * CORNERS];
    for (int place = threadIdx.x; place < count; place += blockDim.x) {
        if (one.order[place] < i) continue;
        Polygons room = {u, v, CORNERS, 0, 0, 0.0};
        Facet facet;
        const bool found = find_facet(
            one.around, count, place, one.measured, particles, reach, box, room, facet);
        if (!found) atomicAdd(&too_many, 1);
        one.facet[one.order[place]] = found
            ? as_pair(facet, one.around[place].apart, network) : Shared{-2.0f, -2.0f};
    }
    __syncthreads();
    if (too_many == 0) return;
    if (threadIdx.x == 0) {
        int limit = particles + 30;
        for (int place = 0; place < count; ++place) {
            if (one.facet[one.order[place]].facet != -2.0f) continue;
            Polygons room = {one.corners, one.corners + 2 * limit, limit, 0, 0, 0.0};
            Facet facet;
            find_facet(
                one.around, count, place, one.measured, particles, reach, box, room, facet);
            one.facet[one.order[place]] =
                as_pair(facet, one.around[place].apart, network);
        }
    }
    __syncthreads();
}

__device__ __forceinline__ Along along(const float* separation)
{
    double x = separation[0], y = separation[1], z = separation[2];
    double d = sqrt(x * x + y * y + z * z);
    return {{x / d, y / d, z / d}, d};
}

// The pairs of each particle with those behind it; `positions` are float64 [B, N, 3]. A block goes
// through them particle by particle.
extern "C" __global__ void __launch_bounds__(64) find_pairs(
    const Network* network, const Room* room, const double* positions, double box, int structures)
{
    const int particles = (int)room->particles;
    const One one = memory_of_one(room->around_one, particles);
    for (int row = blockIdx.x; row < structures * particles; row += gridDim.x) {
        const int i = row % particles, before = row - i;
        measure(positions + 3 * (size_t)before, particles, i, box, one);
        __syncthreads();
        cut_facets(network, particles, i, box, one);
        Pair* pairs = room->of_particle + (size_t)row * particles;
        long long count = 0;
        for (int begin = 0; begin < particles; begin += blockDim.x) {
            const int j = begin + threadIdx.x;
            Pair pair;
            long long found = 0, all;
            if (j < particles) {
                const size_t at = (size_t)row * particles + j;
                room->met[at] = room->near_met[at] = -1;
                const Around away = one.measured[j];
                pair = {row, before + j, {-(float)away.x, -(float)away.y, -(float)away.z},
                        one.facet[j].facet, one.facet[j].beside};
                const bool near = along(pair.separation).distance < network->near;
                if (pair.facet >= 0) found = near ? 1 + (1LL << 32) : 1;
            }
            long long place = count + sum_before(found, all);
            if (found > 0) pairs[low(place)] = pair;
            count += all;
        }
        if (threadIdx.x == 0) room->count[row] = count;
        __syncthreads();
    }
}

// Append the pairs of a particle with those behind it to the lists.
__device__ __forceinline__ void list_pairs_of(
    const Room* room, int row, double near, int pair_number, int near_number)
{
    const int particles = (int)room->particles, before = row - row % particles;
    const int count = low(room->count[row]);
    for (int n = 0; n < count; ++n, ++pair_number) {
        const Pair pair = room->of_particle[(size_t)row * particles + n];
        const Along found = along(pair.separation);
        const size_t there = (size_t)pair.first * particles + pair.second - before;
        const size_t back = (size_t)pair.second * particles + pair.first - before;
        room->pairs[pair_number] = pair;
        room->along[pair_number] = found;
        room->met[there] = room->met[back] = pair_number;
        if (found.distance < near) {
            room->near_met[there] = room->near_met[back] = pair_number;
            room->near[near_number++] = pair_number;
        }
    }
}

// Move the entries of a list that are not -1 to its front; returns how many these are. Some are
// read before one is written, so that a thread waits for memory once.
__device__ __forceinline__ int close_up(int* list, int length)
{
    constexpr int some = 16;
    int count = 0;
    for (int begin = 0; begin < length; begin += some) {
        int entry[some];
#pragma unroll
        for (int n = 0; n < some; ++n) entry[n] = begin + n < length ? list[begin + n] : -1;
#pragma unroll
        for (int n = 0; n < some; ++n)
            if (entry[n] >= 0) list[count++] = entry[n];
    }
    return count;
}

// The lists of all pairs, of near ones and of those of each particle, in the order of particles.
extern "C" __global__ void __launch_bounds__(256) list_pairs(
    const Network* network, const Room* room, int structures)
{
    const int particles = (int)room->particles;
    for (int b = blockIdx.x; b < structures; b += gridDim.x) {
        const int first = b * particles;
        long long own = 0, base, all;
        for (int row = threadIdx.x; row < first; row += blockDim.x) own += room->count[row];
        sum_before(own, base);
        if (threadIdx.x == 0) room->start[b] = low(base);
        for (int begin = 0; begin < particles; begin += blockDim.x) {
            const int i = begin + threadIdx.x;
            const long long place =
                base + sum_before(i < particles ? room->count[first + i] : 0, all);
            if (i < particles)
                list_pairs_of(room, first + i, network->near, low(place), high(place));
            base += all;
        }
        if (b == structures - 1 && threadIdx.x == 0) {
            room->start[structures] = room->total[0] = low(base);
            room->total[1] = high(base);
        }
        __syncthreads();
        for (int row = first + threadIdx.x; row < first + particles; row += blockDim.x) {
            room->degree[row] = close_up(room->met + (size_t)row * particles, particles);
            room->near_degree[row] = close_up(room->near_met + (size_t)row * particles, particles);
        }
    }
}
