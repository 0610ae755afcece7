// Conductances of pairs and occupancies of particles: morphion/surrogates/resistor_cpu.py, whose
// order of sums is kept but within dense layers. Follows layers.cu.

// From pairs to their ends before the rounds, and from near ones to the wedges of the first.
extern "C" __global__ void __launch_bounds__(64) first_messages(
    const Network* network, const Room* room)
{
    __shared__ Tile tile;
    __shared__ Rows features[WIDTH];
    const int channels = (int)network->channels, inputs = (int)network->radial + 2;
    const int total = room->total[0];
    for (int begin = blockIdx.x * ROWS; begin < total; begin += gridDim.x * ROWS) {
        load(tile, room, network->near, nullptr, begin, total);
        fill_features(tile, network, features);
        __syncthreads();
        for (int o = threadIdx.x; o < 2 * channels; o += THREADS) {
            const bool to_ends = o < channels;
            const int c = to_ends ? o : o - channels;
            const float* matrix = to_ends ? network->to_particle : network->to_wedge;
            float* out = to_ends ? room->message : room->sources;
            const float* share = to_ends ? tile.facet : tile.nearness;
            Rows sum = all_rows(0.0f);
            multiply(features, inputs, matrix, channels, c, sum);
            for (int r = 0; r < tile.rows; ++r)
                out[(size_t)tile.pair[r] * channels + c] = share[r] * sum.of[r];
        }
    }
}

// Sum of the messages to a particle: of all its pairs before the rounds, then of near ones.
__device__ __forceinline__ float gathered(
    const Room* room, bool near, size_t row, int channels, int c)
{
    const int* list = (near ? room->near_met : room->met) + row * room->particles;
    const int count = (near ? room->near_degree : room->degree)[row];
    float sum = 0.0f;
    for (int n = 0; n < count; ++n) sum += room->message[(size_t)list[n] * channels + c];
    return sum;
}

// What particles see after `round` rounds.
extern "C" __global__ void __launch_bounds__(64) gather(
    const Network* network, const Room* room, int structures, int round)
{
    const int channels = (int)network->channels;
    const size_t all = structures * room->particles * channels, stride = gridDim.x * THREADS;
    float* around = room->around + round * all;
    for (size_t at = blockIdx.x * THREADS + threadIdx.x; at < all; at += stride)
        around[at] = gathered(room, round > 0, at / channels, channels, at % channels);
}

// Conductances of all pairs before the rounds.
extern "C" __global__ void __launch_bounds__(64) far_conductances(
    const Network* network, const Room* room)
{
    __shared__ Tile tile;
    __shared__ Rows inputs[WIDTH], hidden[WIDTH];
    const int channels = (int)network->channels, radial = (int)network->radial;
    const int outputs = (int)network->far_neurons, size = radial + 2, ends = size + 2;
    const int total = room->total[0];
    for (int begin = blockIdx.x * ROWS; begin < total; begin += gridDim.x * ROWS) {
        load(tile, room, network->near, nullptr, begin, total);
        fill_features(tile, network, inputs);
        fill_ends(tile, room->around, channels, network->ends_mean, network->ends_scale,
                  inputs + ends);
        const int r = threadIdx.x;
        if (r < ROWS) {
            const float *mean = network->facet_mean, *scale = network->facet_scale;
            const double logarithm = log(tile.facet[r] + network->small_facet);
            inputs[size].of[r] = (tile.facet[r] - mean[0]) / scale[0];
            inputs[size + 1].of[r] = (float)((logarithm - mean[1]) / scale[1]);
        }
        __syncthreads();
        for (int o = threadIdx.x; o < outputs; o += THREADS) {
            Rows sum = all_rows(network->far_hidden_bias[o]);
            multiply(inputs, ends + 2 * channels, network->far_hidden, outputs, o, sum);
            silu(sum);
            hidden[o] = sum;
        }
        __syncthreads();
        const float from_distance = project(inputs, radial, network->pair);
        const float learned = from_distance + project(hidden, outputs, network->far);
        const float of_solvent = project(hidden, outputs, network->beside);
        if (r < tile.rows) {
            const double d = tile.distance[r];
            const double fall = log(d) + network->decay * (min(d, network->shells_end) - 1);
            room->conductance[tile.pair[r]] =
                tile.facet[r] * exp(network->far_bias - fall + learned);
            room->solvent[tile.pair[r]] = network->conductivity
                * room->pairs[tile.pair[r]].beside * exp(network->beside_bias + of_solvent);
        }
    }
}

// Sum over the wedges of a pair with others at its ends, of one channel.
__device__ __forceinline__ float over_wedges(
    const Tile& tile, int r, const Room* room, const float* sources, const float* angle,
    int channels, int c)
{
    float w[6], total = 0.0f;
    for (int order = 0; order < 6; ++order) w[order] = angle[order * channels + c];
    const double* own = tile.direction[r];
    for (int end = 0; end < 2; ++end) {
        const int particle = end == 0 ? tile.first[r] : tile.second[r];
        const int* list = room->near_met + (size_t)particle * room->particles;
        const int count = room->near_degree[particle];
        for (int n = 0; n < count; ++n) {
            const int other = list[n];
            if (other == tile.pair[r]) continue;
            const double* along = room->along[other].direction;
            double x = own[0] * along[0] + own[1] * along[1] + own[2] * along[2];
            // Directions point from the second to the first of a pair.
            if ((room->pairs[other].first == particle) != (end == 0)) x = -x;
            // Chebyshev's polynomials after 1, of which single precision would lose a digit.
            const double second = 2 * x * x - 1, third = 2 * x * second - x;
            const double fourth = 2 * x * third - second, fifth = 2 * x * fourth - third;
            const float even = w[0] + (float)second * w[2] + (float)fourth * w[4];
            const float odd = (float)x * w[1] + (float)third * w[3] + (float)fifth * w[5];
            total += sources[(size_t)other * channels + c] * (even + odd);
        }
    }
    return total;
}

// Fill what near pairs know before a round, and then what they see in it.
__device__ __forceinline__ void fill_surroundings(
    const Tile& tile, const Network* network, const Room* room, int structures, int round,
    Rows* known, Rows* seen)
{
    const int channels = (int)network->channels, neurons = (int)network->neurons;
    const float *mean = network->seen_mean + 3 * channels * round, *scale = network->seen_scale;
    scale += 3 * channels * round;
    if (round == 0)
        fill_features(tile, network, known);
    else
        for (int at = threadIdx.x; at < neurons * ROWS; at += THREADS) {
            const int r = at / neurons, i = at % neurons;
            known[i].of[r] = room->known[(size_t)tile.pair[r] * neurons + i];
        }
    const float* around = room->around + round * structures * room->particles * channels;
    const float* sources = round % 2 == 0 ? room->sources : room->sources_2;
    const float* angle = network->angle + 6 * channels * round;
    fill_ends(tile, around, channels, mean, scale, seen);
    for (int at = threadIdx.x; at < channels * ROWS; at += THREADS) {
        const int r = at / channels, c = at % channels, column = 2 * channels + c;
        const float sum = over_wedges(tile, r, room, sources, angle, channels, c);
        seen[column].of[r] = (sum - mean[column]) / scale[column];
    }
}

// What near pairs pass on after a round: to their ends, to the wedges of the next round, or, after
// the last one, to their conductance.
__device__ __forceinline__ void pass_on(
    const Tile& tile, const Network* network, const Room* room, int round, const Rows* known)
{
    const int channels = (int)network->channels, neurons = (int)network->neurons;
    const bool last = round == network->rounds - 1;
    const float* to_ends = network->from_pair + (size_t)round * neurons * channels;
    const float* to_wedge =
        network->to_wedge + (size_t)(round + 1) * network->known_rows * channels;
    float* sources = round % 2 == 0 ? room->sources_2 : room->sources;
    for (int o = threadIdx.x; o < (last ? 1 : 2) * channels; o += THREADS) {
        const int c = o < channels ? o : o - channels;
        float* out = o < channels ? room->message : sources;
        Rows sum = all_rows(0.0f);
        multiply(known, neurons, o < channels ? to_ends : to_wedge, channels, c, sum);
        for (int r = 0; r < tile.rows; ++r)
            out[(size_t)tile.pair[r] * channels + c] = tile.nearness[r] * sum.of[r];
    }
    if (last) {
        const float learned = project(known, neurons, network->conductance);
        const int r = threadIdx.x;
        if (r < tile.rows)
            room->conductance[tile.pair[r]] *=
                exp(tile.nearness[r] * (network->conductance_bias + learned));
        return;
    }
    for (int at = threadIdx.x; at < neurons * tile.rows; at += THREADS) {
        const int r = at / neurons, i = at % neurons;
        room->known[(size_t)tile.pair[r] * neurons + i] = known[i].of[r];
    }
}

// A round in which near pairs learn of their surroundings.
extern "C" __global__ void __launch_bounds__(64) learn(
    const Network* network, const Room* room, int structures, int round)
{
    __shared__ Tile tile;
    __shared__ Rows inputs[WIDTH], hidden[WIDTH];
    const int channels = (int)network->channels, neurons = (int)network->neurons;
    const int known = round == 0 ? (int)network->radial + 2 : neurons, seen = 3 * channels;
    const float* of_known = network->hidden_known + round * network->known_rows * neurons;
    const float* of_seen = network->hidden_seen + (size_t)round * seen * neurons;
    const float* out = network->out + (size_t)round * neurons * neurons;
    const int total = room->total[1];
    for (int begin = blockIdx.x * ROWS; begin < total; begin += gridDim.x * ROWS) {
        load(tile, room, network->near, room->near, begin, total);
        fill_surroundings(tile, network, room, structures, round, inputs, inputs + known);
        __syncthreads();
        for (int o = threadIdx.x; o < neurons; o += THREADS) {
            Rows sum = all_rows(network->hidden_bias[round * neurons + o]);
            multiply(inputs, known, of_known, neurons, o, sum);
            multiply(inputs + known, seen, of_seen, neurons, o, sum);
            silu(sum);
            hidden[o] = sum;
        }
        __syncthreads();
        for (int o = threadIdx.x; o < neurons; o += THREADS) {
            Rows sum = all_rows(network->out_bias[round * neurons + o]);
            multiply(hidden, neurons, out, neurons, o, sum);
            silu(sum);
            for (int r = 0; r < ROWS; ++r) inputs[o].of[r] = sum.of[r] + hidden[o].of[r];
        }
        __syncthreads();
        pass_on(tile, network, room, round, inputs);
    }
}

// Beyond 1 it grows as what is learned does: what neighbours add adds up.
__device__ __forceinline__ double as_occupancy(double learned)
{
    return learned > 0 ? 1 + learned : exp(learned);
}

// Occupancies of particles, from what they see before, between and after the rounds.
extern "C" __global__ void __launch_bounds__(64) occupancies(
    const Network* network, const Room* room, int structures)
{
    __shared__ Rows inputs[WIDTH], hidden[WIDTH];
    const int channels = (int)network->channels, neurons = (int)network->neurons;
    const int rounds = (int)network->rounds, width = (rounds + 1) * channels;
    const int total = structures * (int)room->particles;
    for (int begin = blockIdx.x * ROWS; begin < total; begin += gridDim.x * ROWS) {
        __syncthreads();  // the rows before may still be read
        for (int at = threadIdx.x; at < width * ROWS; at += THREADS) {
            const int r = at / width, column = at % width;
            const int round = column / channels, c = column % channels;
            const size_t row = min(begin + r, total - 1);
            const float sum = round == rounds
                ? gathered(room, true, row, channels, c)
                : room->around[((size_t)round * total + row) * channels + c];
            inputs[column].of[r] = (sum - network->around_mean[column])
                / network->around_scale[column];
        }
        __syncthreads();
        for (int o = threadIdx.x; o < neurons; o += THREADS) {
            Rows sum = all_rows(network->occupancy_hidden_bias[o]);
            multiply(inputs, width, network->occupancy_hidden, neurons, o, sum);
            silu(sum);
            hidden[o] = sum;
        }
        __syncthreads();
        for (int at = threadIdx.x; at < neurons * min(ROWS, total - begin); at += THREADS) {
            const int r = at / neurons, o = at % neurons;
            room->seen[(size_t)(begin + r) * neurons + o] = hidden[o].of[r];
        }
        const float learned = project(hidden, neurons, network->occupancy);
        const int row = begin + (int)threadIdx.x;
        if (threadIdx.x < ROWS && row < total)
            room->occupancy[row] = as_occupancy(network->occupancy_bias + learned);
    }
}
