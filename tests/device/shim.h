// Enough of CUDA C++ to run kernels on a host: the threads of a block are fibers that give way to
// one another at __syncthreads, so that shared memory and barriers behave as on a device. Blocks
// run one after another, so that atomic operations need no more than plain ones.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __constant__ static const
#define __restrict__
#define __forceinline__ inline
#define __launch_bounds__(...)

using std::ceil;
using std::floor;
using std::max;
using std::min;
using std::sqrt;

struct Dim3 {
    unsigned x, y, z;
};
static Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace shim {
const size_t STACK = 64 * 1024;
static ucontext_t scheduler;
static std::vector<ucontext_t> fibers;
static std::vector<char> stacks;
static std::vector<char> ended;
static unsigned current;
static void (*body)(void**);
static void** arguments;

static void enter() {
    body(arguments);
    ended[current] = 1;
    swapcontext(&fibers[current], &scheduler);
}

static void run_block(unsigned threads) {
    fibers.resize(threads);
    stacks.resize(threads * STACK);
    ended.assign(threads, 0);
    for (unsigned t = 0; t < threads; ++t) {
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = &stacks[t * STACK];
        fibers[t].uc_stack.ss_size = STACK;
        fibers[t].uc_link = nullptr;
        makecontext(&fibers[t], enter, 0);
    }
    for (unsigned left = threads; left > 0;) {
        left = 0;
        for (current = 0; current < threads; ++current) {
            if (ended[current]) continue;
            threadIdx = {current, 0, 0};
            swapcontext(&scheduler, &fibers[current]);
            if (!ended[current]) ++left;
        }
    }
}

static void launch(void (*kernel)(void**), unsigned blocks, unsigned threads, void** values) {
    body = kernel;
    arguments = values;
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    for (unsigned b = 0; b < blocks; ++b) {
        blockIdx = {b, 0, 0};
        run_block(threads);
    }
}
}  // namespace shim

static void __syncthreads() {
    swapcontext(&shim::fibers[shim::current], &shim::scheduler);
}

template <class T> static T atomicAdd(T* where, T value) {
    T before = *where;
    *where = before + value;
    return before;
}
template <class T> static T atomicMin(T* where, T value) {
    T before = *where;
    if (value < before) *where = value;
    return before;
}
template <class T> static T atomicMax(T* where, T value) {
    T before = *where;
    if (value > before) *where = value;
    return before;
}
template <class To, class From> static To shim_bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "bits of one size");
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}
static long long __double_as_longlong(double value) { return shim_bits<long long>(value); }
static double __longlong_as_double(long long value) { return shim_bits<double>(value); }
static int __float_as_int(float value) { return shim_bits<int>(value); }
static float __int_as_float(int value) { return shim_bits<float>(value); }
static unsigned __float_as_uint(float value) { return shim_bits<unsigned>(value); }
static float __uint_as_float(unsigned value) { return shim_bits<float>(value); }
static unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
template <class T> static T __ldg(const T* where) { return *where; }
