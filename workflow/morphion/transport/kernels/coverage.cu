// The coverage-shell model on the device, bit for bit as morphion/transport/coverage.py and
// raster.py: every site adds the particles in the same order. Follows elementary.cu.

struct Model {
    double box_length, core2, shell, width, reach;
    double solvent_diffusivity, shell_diffusivity, affinity, friction, extra_affinity;
};

// Order of floats as that of unsigned integers.
__device__ __forceinline__ unsigned ordered(float value)
{
    unsigned bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// First index >= first that is congruent to i modulo n.
__device__ __forceinline__ long long congruent(long long first, int i, int n)
{
    long long rest = (i - first) % n;
    return first + (rest < 0 ? rest + n : rest);
}

// Coverage of a site, or -1 where a sphere blocks it.
__device__ __forceinline__ double coverage_of(
    const double* __restrict__ positions, int particles, const Model& model, int n, int i, int j,
    int k)
{
    const double h = model.box_length / n;
    const double reach2 = model.reach * model.reach;
    double sum = 0;
    bool blocked = false;
    double site = (i + 0.5) * h;
    for (int p = 0; p < particles; ++p) {
        double x = positions[3 * p], y = positions[3 * p + 1], z = positions[3 * p + 2];
        long long low = (long long)ceil((site - model.reach - x) / model.box_length);
        long long high = (long long)floor((site + model.reach - x) / model.box_length);
        for (long long m = low; m <= high; ++m) {
            double dx = site - x - m * model.box_length;
            double x2 = dx * dx;
            if (x2 > reach2) continue;
            double within_y = sqrt(reach2 - x2);
            long long first_y = (long long)ceil((y - within_y) / h - 0.5);
            long long last_y = (long long)floor((y + within_y) / h - 0.5);
            for (long long v = congruent(first_y, j, n); v <= last_y; v += n) {
                double dy = (v + 0.5) * h - y;
                double y2 = dy * dy;
                if (x2 + y2 > reach2) continue;
                double within_z = sqrt(reach2 - x2 - y2);
                long long first_z = (long long)ceil((z - within_z) / h - 0.5);
                long long last_z = (long long)floor((z + within_z) / h - 0.5);
                for (long long w = congruent(first_z, k, n); w <= last_z; w += n) {
                    double dz = (w + 0.5) * h - z;
                    double d2 = x2 + y2 + dz * dz;
                    if (d2 < model.core2) blocked = true;
                    else
                        sum += 1.0 / (1.0 + exp_same(-2.0 * (model.shell - sqrt(d2)) / model.width));
                }
            }
        }
    }
    return blocked ? -1.0 : sum;
}

// D and U of all sites, D = 0 where blocked. seen[0], seen[1]: lowest and highest U of open sites as
// ordered integers; seen[2]: open sites with a coverage of at least 1/2.
extern "C" __global__ void __launch_bounds__(256) coverage(
    const double* __restrict__ positions, int particles, const Model* model, int n,
    float* diffusivity, float* energy, unsigned* seen)
{
    __shared__ unsigned low, high, met;
    if (threadIdx.x == 0) {
        low = 0xFFFFFFFFu;
        high = met = 0;
    }
    __syncthreads();
    const Model m = *model;
    const long long sites = (long long)n * n * n;
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x; s < sites; s += stride) {
        int k = (int)(s % n), j = (int)(s / n % n), i = (int)(s / ((long long)n * n));
        double c = coverage_of(positions, particles, m, n, i, j, k);
        if (c < 0) {
            diffusivity[s] = 0;
            energy[s] = 0;
            continue;
        }
        double c1 = c < 1.0 ? c : 1.0;
        double c2 = c - 1.0 > 0.0 ? c - 1.0 : 0.0;
        double d = (m.solvent_diffusivity + (m.shell_diffusivity - m.solvent_diffusivity) * c1)
            * exp_same(-m.friction * c2);
        float u = (float)(-m.affinity * c1 - m.extra_affinity * c2);
        diffusivity[s] = (float)(d > 1.2e-38 ? d : 1.2e-38);
        energy[s] = u;
        atomicMin(&low, ordered(u));
        atomicMax(&high, ordered(u));
        if (c >= 0.5) atomicAdd(&met, 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicMin(&seen[0], low);
        atomicMax(&seen[1], high);
        atomicAdd(&seen[2], met);
    }
}

// D -> b = sqrt(D) exp(-(U - lowest) / 2) and U -> weight = exp(-(U - lowest)), in place.
extern "C" __global__ void __launch_bounds__(256) to_weights(
    float* diffusivity, float* energy, long long sites, double lowest)
{
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x; s < sites; s += stride) {
        float d = diffusivity[s];
        if (d > 0) {
            double half = exp_same((lowest - (double)energy[s]) / 2);
            diffusivity[s] = (float)(sqrt((double)d) * half);
            energy[s] = (float)(half * half);
        } else {
            energy[s] = 0;
        }
    }
}
