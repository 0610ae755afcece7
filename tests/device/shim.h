// Enough of CUDA C++ to run kernels on a host: the threads of a block are fibers that give way to
// one another at __syncthreads, so that shared memory and barriers behave as on a device. Threads
// that end without waiting share one fiber. Blocks run one after another, so that atomic operations
// need no more than plain ones.
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __restrict__
#define __forceinline__ inline
#define __noinline__
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

// Set to run blocks, and threads between barriers, in the opposite order.
extern "C" {
int shim_backwards = 0;
}

namespace shim {
const size_t STACK = 64 * 1024;
struct Fiber {
    ucontext_t start;
    jmp_buf where;
    Dim3 thread;
    bool begun, waiting;
    char stack[STACK];
};
static std::vector<std::unique_ptr<Fiber>> fibers;
static Fiber* running;
static jmp_buf scheduler;
static unsigned threads_begun;
static void (*body)(void**);
static void** arguments;

static unsigned in_order(unsigned number, unsigned count) {
    return shim_backwards ? count - 1 - number : number;
}

// _setjmp and _longjmp leave signal masks alone, which swapcontext asks the kernel for.
static void give_way() {
    if (_setjmp(running->where) == 0) _longjmp(scheduler, 1);
}

static void live() {
    for (;;) {
        while (threads_begun < blockDim.x) {
            threadIdx = {in_order(threads_begun++, blockDim.x), 0, 0};
            body(arguments);
        }
        running->waiting = false;
        give_way();
    }
}

// Run a fiber until it waits or has no thread left to begin.
static void resume(unsigned number) {
    if (number == fibers.size()) {
        fibers.emplace_back(new Fiber);
        fibers.back()->begun = false;
    }
    running = fibers[number].get();
    if (_setjmp(scheduler)) return;
    if (running->begun) {
        threadIdx = running->thread;
        _longjmp(running->where, 1);
    }
    running->begun = true;
    getcontext(&running->start);
    running->start.uc_stack.ss_sp = running->stack;
    running->start.uc_stack.ss_size = STACK;
    running->start.uc_link = nullptr;
    makecontext(&running->start, live, 0);
    setcontext(&running->start);
}

static void run_block() {
    unsigned used = 0, waiting = 0;
    for (threads_begun = 0; threads_begun < blockDim.x;) {
        resume(used);
        if (running->waiting) waiting = ++used;
    }
    while (waiting > 0) {
        waiting = 0;
        for (unsigned number = 0; number < used; ++number) {
            if (!fibers[number]->waiting) continue;
            resume(number);
            if (running->waiting) ++waiting;
        }
    }
}

static void launch(void (*kernel)(void**), unsigned blocks, unsigned threads, void** values) {
    body = kernel;
    arguments = values;
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    for (unsigned b = 0; b < blocks; ++b) {
        blockIdx = {in_order(b, blocks), 0, 0};
        run_block();
    }
}
}  // namespace shim

static void __attribute__((noinline)) __syncthreads() {
    shim::running->waiting = true;
    shim::running->thread = threadIdx;
    shim::give_way();
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
static unsigned __float_as_uint(float value) { return shim_bits<unsigned>(value); }
template <class T> static T __ldg(const T* where) { return *where; }
